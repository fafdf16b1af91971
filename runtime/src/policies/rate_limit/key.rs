use core::any::{TypeId, type_name};
use core::fmt;
use core::hash::{Hash, Hasher};

use crate::request::Caller;

/// A check of the values by which a rate limit counts, such as tenants. A value comes from a header
/// or a path parameter. A limit uses the value only after [`verify`](Self::verify) has accepted it.
///
/// `by = header("x-tenant", Tenant)` and `by = param("tenant_id", Tenant)` name the type.
///
/// # Why keys are verified
///
/// Clients choose the values of their headers and paths. A limit that counts by unverified values
/// would have no effect: **a client that invents a new value for each request gets a full bucket
/// for each request**. A client could also send the value of another client and use up its limit.
/// So compare the value with data that the client cannot choose, such as the identity of the caller
/// or a signature in the value. A check against a list of all tenants prevents the first attack,
/// but not the second.
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
    label = "does not implement `LimitKey`",
    note = "clients choose the values of headers and paths: implement `aplomb::policies::rate_limit::LimitKey`, which accepts verified values only"
)]
pub trait LimitKey: 'static {
    /// Returns the key by which the limit counts a request with this `value`, or `None` if the
    /// value is not verified. If one key has several spellings, return the same text for all of
    /// them.
    ///
    /// `value` is the value of the header or the percent-decoded path parameter. A header that
    /// occurs twice or is not ASCII is not verified, and the function is not called for it. The
    /// function is called for every request, before the store is called, so it must not block. Keep
    /// the data that it needs in memory.
    fn verify(value: &str, caller: Option<&Caller>) -> Option<String>;
}

/// A reference to a [`LimitKey`] type, without a type parameter.
#[derive(Clone, Copy)]
pub struct LimitKeyType {
    id: TypeId,
    name: fn() -> &'static str,
    verify: fn(&str, Option<&Caller>) -> Option<String>,
}

impl LimitKeyType {
    /// Returns the reference to `K`.
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

/// Two references are equal if they were made from the same type.
impl PartialEq for LimitKeyType {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for LimitKeyType {}

impl Hash for LimitKeyType {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl fmt::Debug for LimitKeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str((self.name)())
    }
}
