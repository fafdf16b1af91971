//! Errors of the connection, in the words of whoever set it up.

use redis::{ErrorKind, RedisError};

/// What went wrong, in one line.
pub(super) fn describe_error(error: &RedisError) -> String {
    match (error.kind(), error.code()) {
        (_, Some("NOAUTH")) => String::from(
            "the server demands a password: redis://:<password>@host or redis://<user>:<password>@host",
        ),
        (ErrorKind::AuthenticationFailed, _) | (_, Some("WRONGPASS")) => {
            String::from("the server refuses the user or the password")
        }
        (_, Some("NOPERM")) => format!(
            "the server does not permit what is needed ({error}); the user needs the keys ap1:*, and to call info, ping, \
             eval, evalsha and what the scripts call: get, mget, getrange, set, psetex, del, pttl, \
             pexpire, time, llen, lindex, lrange, lrem, ltrim, rpush; on a cluster also cluster|info, \
             cluster|slots and asking, behind sentinels also role, with a database also select"
        ),
        (ErrorKind::Parse, _) => String::from("what answers does not speak the protocol of Redis"),
        _ => error.to_string().replace('\n', " "),
    }
}

/// Why a URL cannot be used.
pub(super) fn describe_url_error(url: &str, error: &RedisError) -> String {
    if ["rediss:", "valkeys:", "rediss+"]
        .iter()
        .any(|secured| url.starts_with(secured))
    {
        let way_out = "a proxy on this machine can speak it: name the proxy with redis://";
        return format!("this build has no TLS; {way_out}");
    }
    let text = error.to_string();
    let what = text.split(" - ").next().unwrap_or_default().to_lowercase();
    format!(
        "{what}; expected redis://[[user]:password@]host[:port][/database], redis+sentinel://… or redis+cluster://…"
    )
}
