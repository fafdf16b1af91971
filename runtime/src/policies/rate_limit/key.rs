use core::any::{TypeId, type_name};
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::request::Caller;

/// A kind of key by which limits count, such as a tenant. The value comes from a header or a path
/// parameter and counts once it is verified.
///
/// `by = header("x-tenant", Tenant)` and `by = param("tenant_id", Tenant)` name the type.
///
/// # Why keys are verified
///
/// Clients choose the values of their headers and paths. A limit by an unverified value would have
/// no effect: **a client that invents a new value for each request gets a full bucket for each
/// request**, and a client that sends another client's value uses up that client's limit. So
/// compare the value with something that the client cannot choose, such as its own identity or a
/// signature in the value. A list of all tenants prevents the first attack, but not the second.
///
/// ```
/// use aplomb::auth::Caller;
/// use aplomb::endpoint;
/// use aplomb::policies::rate_limit::LimitKey;
///
/// /// The tenant of callers such as `acme/alice`.
/// struct Tenant;
///
/// impl LimitKey for Tenant {
///     fn verify(value: &str, caller: Option<&Caller>) -> Option<String> {
///         let (tenant, _) = caller?.id().split_once('/')?;
///         (value == tenant).then(|| tenant.to_owned())
///     }
/// }
///
/// /// A thousand requests per minute for all callers of a tenant together.
/// #[endpoint(get = "/tenants/{tenant_id}/reports", rate_limit("1000/min", by = param("tenant_id", Tenant)))]
/// async fn reports() {}
///
/// let alice = Caller::new("acme/alice");
/// assert_eq!(Tenant::verify("acme", Some(&alice)).as_deref(), Some("acme"));
/// assert_eq!(Tenant::verify("globex", Some(&alice)), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot verify the key of a rate limit",
    label = "this type does not implement `LimitKey`",
    note = "clients choose their headers and paths: implement `aplomb::policies::rate_limit::LimitKey` to verify the values that count"
)]
pub trait LimitKey: 'static {
    /// Returns the key by which a request with this `value` counts, or `None` if the value is not
    /// verified. Different spellings of one key must return the same key.
    ///
    /// The value is that of a header that occurs once and is ASCII, or of a percent-decoded path
    /// parameter. The function is called for every request, before the store, and it must not
    /// block. Keep the data that it needs in memory.
    fn verify(value: &str, caller: Option<&Caller>) -> Option<String>;
}

/// The [`LimitKey`] that verifies a value.
#[derive(Clone, Copy)]
pub struct KeyKind {
    id: TypeId,
    name: fn() -> &'static str,
    verify: fn(&str, Option<&Caller>) -> Option<String>,
}

impl KeyKind {
    /// The kind of this type.
    pub const fn of<K: LimitKey>() -> Self {
        Self {
            id: TypeId::of::<K>(),
            name: type_name::<K>,
            verify: K::verify,
        }
    }

    pub(super) fn verify(self, value: &str, caller: Option<&Caller>) -> Option<String> {
        (self.verify)(value, caller)
    }
}

/// Two kinds are equal if their types are.
impl PartialEq for KeyKind {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for KeyKind {}

impl Hash for KeyKind {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str((self.name)())
    }
}
