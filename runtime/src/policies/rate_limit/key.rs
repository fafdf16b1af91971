use core::any::{TypeId, type_name};
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::request::Caller;

/// A kind of key by which limits count, such as a tenant: what a header or a path parameter says, once it is
/// verified.
///
/// `by = header("x-tenant", Tenant)` and `by = param("tenant_id", Tenant)` name it.
///
/// # Why it is asked
///
/// Clients choose what their headers and paths say. A limit that counted by the bare text would stop nobody:
/// **a client that makes up a new value for each request has a full bucket for each**, and one that sends
/// somebody else's value uses up somebody else's limit. So a value counts only where something agrees that the
/// client cannot choose, such as its own identity, or a signature in the value. A list of all tenants is
/// enough against the first attack, and not against the second.
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
/// /// A thousand a minute for all callers of a tenant together.
/// #[endpoint(get = "/tenants/{tenant_id}/reports", rate_limit("1000/min", by = param("tenant_id", Tenant)))]
/// async fn reports() {}
///
/// let alice = Caller::new("acme/alice");
/// assert_eq!(Tenant::verify("acme", Some(&alice)).as_deref(), Some("acme"));
/// assert_eq!(Tenant::verify("globex", Some(&alice)), None);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot verify the key of a rate limit",
    label = "does not implement `LimitKey`",
    note = "clients choose the values of headers and paths: implement `aplomb::policies::rate_limit::LimitKey`, which accepts verified values only"
)]
pub trait LimitKey: 'static {
    /// The key by which a request counts whose header or path parameter says `value`; `None` where that is not
    /// verified. Values that mean the same give the same key.
    ///
    /// The header stands once in the request, in ASCII; a path parameter is decoded. Asked before the store is,
    /// and by each request: look things up elsewhere, and have them at hand here.
    fn verify(value: &str, caller: Option<&Caller>) -> Option<String>;
}

/// Which [`LimitKey`] verifies a value.
#[derive(Clone, Copy)]
pub struct KeyKind {
    id: TypeId,
    name: fn() -> &'static str,
    verify: fn(&str, Option<&Caller>) -> Option<String>,
}

impl KeyKind {
    /// This one.
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

/// Kinds are the same if their types are.
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
