//! The table of keys: what an attribute may say, to whom it is said, and how it is written.
//!
//! Everything that lists keys reads this table: the parser, its suggestions, the messages that say
//! what is accepted, and the tables of the reference documentation (`reference.rs` writes them).

use crate::policies::Policy;
use crate::spec::Spec;
use crate::suggest;

/// One key of `#[endpoint(…)]`.
pub(crate) struct Key {
    /// The key as written.
    pub(crate) name: &'static str,
    /// How it may be written, each form an example.
    pub(crate) forms: &'static [&'static str],
    /// What its list may hold.
    pub(crate) options: &'static [KeyOption],
    /// Whether it may be given several times.
    pub(crate) repeatable: bool,
    /// What it promises, in one line.
    pub(crate) help: &'static str,
    /// What holds where it is not written. Only the reference says it.
    #[cfg(test)]
    pub(crate) otherwise: &'static str,
    /// The policy that reads it.
    pub(crate) policy: fn(&mut Spec) -> &mut dyn Policy,
}

/// One option in the list of a key.
pub(crate) struct KeyOption {
    /// The option as written.
    pub(crate) name: &'static str,
    /// An example with its value, if it has one.
    pub(crate) form: &'static str,
    /// What it means, in one line.
    #[cfg(test)]
    pub(crate) help: &'static str,
    /// What holds where it is not written.
    #[cfg(test)]
    pub(crate) otherwise: &'static str,
}

macro_rules! keys {
    ($($name:literal => $policy:ident $(($repeatable:ident))?: [$($form:literal),+] $help:literal, else $otherwise:literal
        $({ $($option:literal [$example:literal] $meaning:literal, else $default:literal;)+ })?;)*) => {
        /// All keys, in the order of the reference.
        pub(crate) const KEYS: &[Key] = &[$(Key {
            name: $name,
            forms: &[$($form),+],
            options: &[$($(KeyOption {
                name: $option,
                form: $example,
                #[cfg(test)]
                help: $meaning,
                #[cfg(test)]
                otherwise: $default,
            }),+)?],
            repeatable: false $(|| stringify!($repeatable).len() > 0)?,
            help: $help,
            #[cfg(test)]
            otherwise: $otherwise,
            policy: |spec| &mut spec.$policy,
        }),*];
    };
}

keys! {
    "get" => route: [r#"get = "/path""#] "answers GET requests of the path", else "one method is required";
    "post" => route: [r#"post = "/path""#] "answers POST requests of the path", else "one method is required";
    "put" => route: [r#"put = "/path""#] "answers PUT requests of the path", else "one method is required";
    "patch" => route: [r#"patch = "/path""#] "answers PATCH requests of the path", else "one method is required";
    "delete" => route: [r#"delete = "/path""#] "answers DELETE requests of the path", else "one method is required";
    "version" => version: ["version = 1", "version = 1..", "version = 1..=3"] "the versions of the API that serve it, under `/v1` and so on", else "the path stands without a version";
    "deprecated" => deprecation: [r#"deprecated = "2026-06-30""#, r#"deprecated("2026-06-30", info = "https://api.example/changes/v2")"#] "responses say since when it is deprecated; calls are counted and warned of", else "it is not" {
        "info" [r#"info = "https://api.example/changes/v2""#] "a page for humans that says why: a URL, or a path of the same host", else "what `Api::deprecation_info` says, if anything";
    };
    "sunset" => deprecation: [r#"sunset = "2026-12-31""#, r#"sunset("2026-12-31", enforce, info = "https://api.example/changes/v2")"#] "responses say after which day it may go", else "it stays" {
        "enforce" ["enforce"] "requests after that day are a 410 `VERSION_GONE`", else "they are answered, and warned of";
        "info" [r#"info = "https://api.example/changes/v2""#] "a page for humans that says what happens then: a URL, or a path of the same host", else "what `Api::deprecation_info` says, if anything";
    };
    "successor" => deprecation: ["successor = get_account_v2"] "the endpoint of the same list that takes its place; responses link to it", else "no link";
    "type_name" => type_name: ["type_name = name"] "the name of the generated type, where the function's own is taken", else "the function's name";
    "crate" => crate_path: ["crate = framework::aplomb"] "the path of the `aplomb` crate, if it has another name or another crate re-exports it", else "`::aplomb`";
    "idempotent" => idempotency: ["idempotent", r#"idempotent(ttl = "24h", max_stored_body = "256KiB", optional, anonymous, on_crash = rerun, headers("x-region"))"#] "a repeat with the same `Idempotency-Key` gets the first answer", else "a POST or PATCH must say this or `not_idempotent`" {
        "ttl" [r#"ttl = "24h""#] "how long an answer is kept after it was given; from 30 seconds to 365 days", else "24 hours";
        "max_stored_body" [r#"max_stored_body = "256KiB""#] "the largest body of an answer that is kept, up to 16 MiB; `\"0B\"` keeps none", else "1 MiB";
        "optional" ["optional"] "requests without a key are let through", else "they are a 400";
        "anonymous" ["anonymous"] "callers without identity may use keys, of at least 22 characters; required where callers have none: `public` without `optional`, or an API that is `open`", else "a key without a caller is a 401";
        "on_crash" ["on_crash = rerun"] "a retry runs the handler again if the first attempt's process died", else "it is told that the outcome is unknown";
        "headers" [r#"headers("x-region")"#] "fields that a retry must repeat", else "fields are not compared";
    };
    "not_idempotent" => idempotency: [r#"not_idempotent = "why a repeat is harmless""#] "the decision that repeats need no key, and why", else "a POST or PATCH must say this or `idempotent`";
    "rate_limit" => rate_limit(repeatable): [r#"rate_limit = "100/min""#, r#"rate_limit("100/min", burst = 20, algorithm = token_bucket, by = caller, cost = 1, on_error = local, name = "login", prefetch = 10, shadow)"#] "how often a caller, an address or everybody may call", else "no limit" {
        "burst" ["burst = 20"] "the most tokens that gather; of a `leaky_bucket`, the requests in its queue", else "as many as the rate has";
        "algorithm" ["algorithm = token_bucket"] "how requests are counted: `token_bucket`, `leaky_bucket` (they wait their turn), `fixed_window` or `sliding_window`", else "`token_bucket`";
        "by" ["by = caller"] "whose requests share a bucket: `caller` (where there is none, the client's address), `ip`, `route` for all, or what `header(\"x-tenant\", Tenant)` or `param(\"tenant_id\", Tenant)` says, once `Tenant` has verified it", else "`caller`";
        "cost" ["cost = 1"] "tokens that a request takes: a number, or what a function says of its head (`cost = weigh`)", else "1";
        "on_error" ["on_error = local"] "who decides while the store does not answer: `local`, each instance by its share, or `deny`, nobody: requests are a 503", else "`local`";
        "name" [r#"name = "login""#] "endpoints that name the same limit share its buckets; operators can change its rate", else "the endpoint has buckets of its own";
        "prefetch" ["prefetch = 10"] "tokens that an instance takes ahead, so that most requests cost no trip to the store", else "each request asks the store";
        "shadow" ["shadow"] "counts and never refuses; the log says what it would have refused", else "it refuses";
    };
    "paginate" => paginate: ["paginate = cursor", "paginate = offset", "paginate(cursor, default = 50, max = 100)"] "a list that is answered page by page: from cursor to cursor, or by the number of the page", else "a list must say this or `unpaginated`" {
        "default" ["default = 50"] "items of a page where the client names no `limit`", else "50, or `max` if that is less";
        "max" ["max = 100"] "the most items of a page", else "100";
    };
    "unpaginated" => paginate: [r#"unpaginated = "why it stays small""#] "the decision that a list needs no pages, and why", else "a list must say this or `paginate`";
    "timeout" => timeout: [r#"timeout = "5s""#] "the response deadline", else "30 s, or what `Api::timeout` says";
    "body_limit" => body_limit: [r#"body_limit = "1MB""#] "the largest request body", else "1 MiB, or what `Api::body_limit` says";
    "public" => access: ["public"] "everybody may call, without authentication", else "a caller is required, unless the API is `open`";
}

/// The key of this name.
pub(crate) fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Words that mean something elsewhere, and what says it here.
const FOREIGN_KEYS: &[(&str, &str)] = &[
    (
        "path",
        "the path stands with its method: write `get = \"/path\"`",
    ),
    (
        "route",
        "the path stands with its method: write `get = \"/path\"`",
    ),
    (
        "method",
        "the method is a key of its own: write `get = \"/path\"`",
    ),
    (
        "head",
        "a GET endpoint answers HEAD as well: write `get = \"/path\"`",
    ),
    (
        "options",
        "OPTIONS is answered by a layer, such as one for CORS: leave it out",
    ),
    (
        "on_crash",
        "it is an option of `idempotent`: write `idempotent(on_crash = rerun)`",
    ),
    (
        "ttl",
        "it is an option of `idempotent`: write `idempotent(ttl = \"24h\")`",
    ),
    (
        "max_stored_body",
        "it is an option of `idempotent`: write `idempotent(max_stored_body = \"256KiB\")`",
    ),
    (
        "anonymous",
        "it is an option of `idempotent`: write `idempotent(anonymous)`",
    ),
    (
        "optional",
        "it is an option of `idempotent`: write `idempotent(optional)`",
    ),
    (
        "burst",
        "it is an option of `rate_limit`: write `rate_limit(\"100/min\", burst = 20)`",
    ),
    (
        "shadow",
        "it is an option of `rate_limit`: write `rate_limit(\"100/min\", shadow)`",
    ),
    (
        "prefetch",
        "it is an option of `rate_limit`: write `rate_limit(\"100/min\", prefetch = 10)`",
    ),
    (
        "on_error",
        "it is an option of `rate_limit`: write `rate_limit(\"100/min\", on_error = deny)`",
    ),
    (
        "enforce",
        "it is an option of `sunset`: write `sunset(\"2026-12-31\", enforce)`",
    ),
    (
        "info",
        "it is an option of `deprecated` and `sunset`: write `deprecated(\"2026-06-30\", info = \"https://api.example/changes/v2\")`",
    ),
    (
        "auth",
        "authentication is the whole API's, and `public` leaves an endpoint out of it: remove `auth`",
    ),
];

/// The message for an unknown key, with what to write instead: the nearest with its form and its promise, or all.
pub(crate) fn unknown(name: &str) -> String {
    if let Some((_, instead)) = FOREIGN_KEYS.iter().find(|(word, _)| *word == name) {
        return format!("unknown key `{name}`: {instead}");
    }
    let names = KEYS.iter().map(|key| key.name);
    match suggest::nearest(name, names.clone()).and_then(key) {
        Some(Key {
            name: near,
            forms: [form, ..],
            help,
            ..
        }) => {
            format!("unknown key `{name}`, did you mean `{near}`? `{form}`: {help}")
        }
        _ => format!("unknown key `{name}`, accepted: {}", suggest::list(names)),
    }
}

/// The options that the key's list may hold.
pub(crate) fn options(name: &str) -> Vec<&'static str> {
    key(name)
        .into_iter()
        .flat_map(|key| key.options)
        .map(|option| option.name)
        .collect()
}

/// A key or an option with a value, as an example.
pub(crate) fn with_value(name: &str) -> Option<&'static str> {
    let keys = KEYS
        .iter()
        .flat_map(|key| key.forms.iter().map(move |form| (key.name, *form)));
    let options = KEYS
        .iter()
        .flat_map(|key| key.options)
        .map(|option| (option.name, option.form));
    keys.chain(options)
        .find(|(known, form)| *known == name && form.contains(" = "))
        .map(|(_, form)| form)
}

/// Panics over an option that stands in the grammar and that nobody reads.
pub(crate) fn unread_option(of: &str, name: &str) -> ! {
    unreachable!("nobody reads `{name}` of `{of}`, though the grammar has it")
}

/// How the key may be written, for messages.
pub(crate) fn forms(name: &str) -> String {
    let forms = key(name).map_or(&[][..], |key| key.forms);
    let quoted: Vec<String> = forms.iter().map(|form| format!("`{form}`")).collect();
    quoted.join(" or ")
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod walk;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_forms_begin_with_them() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(
                KEYS[..index].iter().all(|other| other.name != key.name),
                "{}",
                key.name
            );
            assert!(
                key.forms.iter().all(|form| form.starts_with(key.name)),
                "{}",
                key.name
            );
            assert!(!key.help.is_empty());
        }
    }

    #[test]
    fn words_from_elsewhere_are_not_taken_for_a_slip() {
        assert!(unknown("path").contains("write `get"));
        assert!(unknown("pach").contains("`patch`"));
        assert!(FOREIGN_KEYS.iter().all(|(word, _)| key(word).is_none()));
    }

    #[test]
    fn options_begin_with_their_names_and_stand_in_a_form() {
        for key in KEYS {
            for (index, option) in key.options.iter().enumerate() {
                assert!(
                    key.options[..index]
                        .iter()
                        .all(|other| other.name != option.name),
                    "{}",
                    option.name
                );
                assert!(option.form.starts_with(option.name), "{}", option.name);
                assert!(
                    key.forms.iter().any(|form| form.contains(option.form)),
                    "{}",
                    option.form
                );
            }
        }
    }
}
