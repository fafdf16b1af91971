//! Messages for the errors of a connection.

use redis::{ErrorKind, RedisError};

/// Describes an error of the connection or the server in one line.
pub(super) fn describe_error(error: &RedisError) -> String {
    match (error.kind(), error.code()) {
        (_, Some("NOAUTH")) => String::from(
            "the server demands a password; \
             expected redis://:<password>@host or redis://<user>:<password>@host",
        ),
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => {
            String::from("the server rejects the user or the password; correct them in the URL")
        }
        (_, Some("NOPERM")) => format!(
            "the server denies a required permission ({error}); \
             allow the user the keys ap1:* and the commands info, ping, eval, evalsha, get, mget, \
             getrange, set, psetex, del, pttl, pexpire, time, llen, lindex, lrange, lrem, ltrim, \
             rpush; on a cluster also cluster|info, cluster|slots and asking, with sentinels also \
             role, with a database also select"
        ),
        (ErrorKind::Parse, _) => {
            String::from("the server does not speak the protocol of Redis; check host and port")
        }
        _ => error.to_string().replace('\n', " "),
    }
}

/// Describes what is wrong with a URL.
pub(super) fn describe_url_error(url: &str, error: &RedisError) -> String {
    if ["rediss:", "valkeys:", "rediss+"]
        .iter()
        .any(|secured| url.starts_with(secured))
    {
        let remedy =
            "run a TLS proxy on this machine, and use redis:// with the address of the proxy";
        return format!("TLS is not supported; {remedy}");
    }
    let text = error.to_string();
    // The part after the dash may quote the URL, which may contain a password.
    let defect = text.split(" - ").next().unwrap_or_default().to_lowercase();
    format!(
        "{defect}; expected redis://[[user]:password@]host[:port][/database], \
         redis+sentinel://… or redis+cluster://…"
    )
}
