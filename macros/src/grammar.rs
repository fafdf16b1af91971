//! The table of keys: the names, syntax, options and effects of all keys in `#[endpoint(…)]`.
//!
//! All code that lists keys reads this table: the parser, its suggestions, the messages that list
//! accepted keys, and the tables of the reference documentation, which `reference.rs` writes.

use crate::policies::Policy;
use crate::spec::Spec;
use crate::suggest;

/// One key of `#[endpoint(…)]`.
pub(crate) struct Key {
    /// The key as written.
    pub(crate) name: &'static str,
    /// The syntax of the key: an example of each form.
    pub(crate) forms: &'static [&'static str],
    /// The options in the parentheses of the key.
    pub(crate) options: &'static [KeyOption],
    /// True if the key may be given several times.
    pub(crate) repeatable: bool,
    /// The effect of the key, in one line. Error messages and the reference show it.
    pub(crate) help: &'static str,
    /// The default. Only the reference shows it.
    #[cfg(test)]
    pub(crate) default_help: &'static str,
    /// The policy that parses the key.
    pub(crate) policy: fn(&mut Spec) -> &mut dyn Policy,
}

/// One option in the parentheses of a key.
pub(crate) struct KeyOption {
    /// The option as written.
    pub(crate) name: &'static str,
    /// An example, with a value if the option takes one.
    pub(crate) example: &'static str,
    /// The effect of the option, in one line. Only the reference shows it.
    #[cfg(test)]
    pub(crate) help: &'static str,
    /// The default. Only the reference shows it.
    #[cfg(test)]
    pub(crate) default_help: &'static str,
}

macro_rules! keys {
    ($($name:literal => $policy:ident $(($repeatable:ident))?: [$($form:literal),+] $help:literal, else $default_help:literal
        $({ $($option:literal [$example:literal] $option_help:literal, else $option_default:literal;)+ })?;)*) => {
        /// All keys, in the order of the reference.
        pub(crate) const KEYS: &[Key] = &[$(Key {
            name: $name,
            forms: &[$($form),+],
            options: &[$($(KeyOption {
                name: $option,
                example: $example,
                #[cfg(test)]
                help: $option_help,
                #[cfg(test)]
                default_help: $option_default,
            }),+)?],
            repeatable: false $(|| stringify!($repeatable).len() > 0)?,
            help: $help,
            #[cfg(test)]
            default_help: $default_help,
            policy: |spec| &mut spec.$policy,
        }),*];
    };
}

keys! {
    "get" => route: [r#"get = "/path""#] "answers GET requests for the path", else "one method is required";
    "post" => route: [r#"post = "/path""#] "answers POST requests for the path", else "one method is required";
    "put" => route: [r#"put = "/path""#] "answers PUT requests for the path", else "one method is required";
    "patch" => route: [r#"patch = "/path""#] "answers PATCH requests for the path", else "one method is required";
    "delete" => route: [r#"delete = "/path""#] "answers DELETE requests for the path", else "one method is required";
    "version" => version: ["version = 1", "version = 1..", "version = 1..=3"] "serves the path in these versions of the API, under `/v1` and so on", else "the path has no version";
    "deprecated" => deprecation: [r#"deprecated = "2026-06-30""#, r#"deprecated("2026-06-30", info = "https://api.example/changes/v2")"#] "adds the deprecation date to each response, counts calls and logs a warning", else "the endpoint is not deprecated" {
        "info" [r#"info = "https://api.example/changes/v2""#] "a page that explains the deprecation: a URL, or a path on the same host", else "the page of `Api::deprecation_info`, if set";
    };
    "sunset" => deprecation: [r#"sunset = "2026-12-31""#, r#"sunset("2026-12-31", enforce, info = "https://api.example/changes/v2")"#] "adds to each response the date after which the endpoint may be removed", else "the endpoint has no sunset" {
        "enforce" ["enforce"] "requests after the sunset get 410 `VERSION_GONE`", else "requests after the sunset are answered, and a warning is logged";
        "info" [r#"info = "https://api.example/changes/v2""#] "a page that explains the removal: a URL, or a path on the same host", else "the page of `Api::deprecation_info`, if set";
    };
    "successor" => deprecation: ["successor = get_account_v2"] "adds to each response a link to the endpoint that replaces this one, which must be in the same list", else "no link";
    "type_name" => type_name: ["type_name = name"] "names the generated type, if another type already has the function's name", else "the function's name";
    "crate" => crate_path: ["crate = framework::aplomb"] "the path of the `aplomb` crate, if it has another name or another crate re-exports it", else "`::aplomb`";
    "idempotent" => idempotency: ["idempotent", r#"idempotent(ttl = "24h", max_stored_body = "256KiB", optional, anonymous, on_crash = rerun, headers("x-region"))"#] "a retry with the same `Idempotency-Key` gets the first response", else "a POST or PATCH needs `idempotent` or `not_idempotent`" {
        "ttl" [r#"ttl = "24h""#] "the time for which a response is stored after completion, from 30 seconds to 365 days", else "24 hours";
        "max_stored_body" [r#"max_stored_body = "256KiB""#] "the largest response body that is stored, at most 16 MiB; `\"0B\"` stores no body", else "1 MiB";
        "optional" ["optional"] "admits requests without a key", else "requests without a key get 400";
        "anonymous" ["anonymous"] "admits callers that have no identity, if their key has at least 22 characters; required on a `public` endpoint without `optional`, and in an API that is `without_auth`", else "a key without a caller gets 401";
        "on_crash" ["on_crash = rerun"] "if the process of the first attempt died, a retry runs the handler again; with `on_crash = unknown`, the retry gets an error", else "`rerun` if an argument is a `Tx`, and `unknown` otherwise";
        "headers" [r#"headers("x-region")"#] "header fields that a retry must repeat", else "no additional fields are compared";
    };
    "not_idempotent" => idempotency: [r#"not_idempotent = "why a retry is harmless""#] "declares that a retry needs no key, and why", else "a POST or PATCH needs `idempotent` or `not_idempotent`";
    "rate_limit" => rate_limit(repeatable): [r#"rate_limit = "100/min""#, r#"rate_limit("100/min", burst = 20, algorithm = token_bucket, by = caller, cost = 1, on_error = local, name = "login", prefetch = 10, shadow)"#] "limits the requests of a caller, of an address or of all clients", else "no limit" {
        "burst" ["burst = 20"] "the capacity of the bucket in tokens; for a `leaky_bucket`, the length of its queue", else "the number of the rate";
        "algorithm" ["algorithm = token_bucket"] "the counting algorithm: `token_bucket`, `leaky_bucket` (requests wait for their turn), `fixed_window` or `sliding_window`", else "`token_bucket`";
        "by" ["by = caller"] "the requests that share a bucket: those of a `caller` (of the client's address if there is no caller), of an `ip`, of the whole `route`, or with the same value of `header(\"x-tenant\", Tenant)` or `param(\"tenant_id\", Tenant)`, if `Tenant` verifies the value", else "`caller`";
        "cost" ["cost = 1"] "the tokens that a request takes: a number, or a function of the request's head (`cost = weigh`)", else "1";
        "on_error" ["on_error = local"] "the decision while the store is unavailable: `local` (each instance enforces its share) or `deny` (requests get 503)", else "`local`";
        "name" [r#"name = "login""#] "the name of the limit: endpoints with the same name share its buckets, and operators can change its rate", else "the endpoint has its own buckets";
        "prefetch" ["prefetch = 10"] "the tokens that an instance takes in advance, so that most requests need no round trip to the store", else "each request needs a round trip";
        "shadow" ["shadow"] "counts requests and refuses none; logs what the limit would have refused", else "requests over the limit are refused";
    };
    "paginate" => paginate: ["paginate = cursor", "paginate = offset", "paginate(cursor, default = 50, max = 100)"] "answers a list page by page, by cursor or by page number", else "a list needs `paginate` or `unpaginated`" {
        "default" ["default = 50"] "items on a page if the client sends no `limit`", else "50, or `max` if that is smaller";
        "max" ["max = 100"] "the largest number of items on a page", else "100";
    };
    "unpaginated" => paginate: [r#"unpaginated = "why it stays small""#] "declares that a list needs no pages, and why", else "a list needs `paginate` or `unpaginated`";
    "timeout" => timeout: [r#"timeout = "5s""#] "sets the response deadline", else "30 s, or the value of `Api::timeout`";
    "body_limit" => body_limit: [r#"body_limit = "1MB""#] "sets the largest request body", else "1 MiB, or the value of `Api::body_limit`";
    "public" => access: ["public"] "admits requests without authentication", else "a caller is required, unless the API is `without_auth`";
}

/// Returns the key with this name.
pub(crate) fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Words that are not keys of this attribute, but keys of other frameworks or options of a key.
/// Each entry contains the word, and the text that follows the word in the error message.
const FOREIGN_KEYS: &[(&str, &str)] = &[
    (
        "path",
        "is not a key: write the path with its method, `get = \"/path\"`",
    ),
    (
        "route",
        "is not a key: write the path with its method, `get = \"/path\"`",
    ),
    (
        "method",
        "is not a key: write the method as the key, `get = \"/path\"`",
    ),
    (
        "head",
        "is not a key: write `get = \"/path\"`, which also answers HEAD requests",
    ),
    (
        "options",
        "is not a key: remove it, and answer OPTIONS requests in a layer, such as one for CORS",
    ),
    (
        "auth",
        "is not a key: remove it, and set authentication with `Api::auth`; `public` exempts an endpoint",
    ),
    (
        "ttl",
        "is an option of `idempotent`: write `idempotent(ttl = \"24h\")`",
    ),
    (
        "max_stored_body",
        "is an option of `idempotent`: write `idempotent(max_stored_body = \"256KiB\")`",
    ),
    (
        "optional",
        "is an option of `idempotent`: write `idempotent(optional)`",
    ),
    (
        "anonymous",
        "is an option of `idempotent`: write `idempotent(anonymous)`",
    ),
    (
        "on_crash",
        "is an option of `idempotent`: write `idempotent(on_crash = rerun)`",
    ),
    (
        "burst",
        "is an option of `rate_limit`: write `rate_limit(\"100/min\", burst = 20)`",
    ),
    (
        "on_error",
        "is an option of `rate_limit`: write `rate_limit(\"100/min\", on_error = deny)`",
    ),
    (
        "prefetch",
        "is an option of `rate_limit`: write `rate_limit(\"100/min\", prefetch = 10)`",
    ),
    (
        "shadow",
        "is an option of `rate_limit`: write `rate_limit(\"100/min\", shadow)`",
    ),
    (
        "enforce",
        "is an option of `sunset`: write `sunset(\"2026-12-31\", enforce)`",
    ),
    (
        "info",
        "is an option of `deprecated` and `sunset`: write `deprecated(\"2026-06-30\", info = \"https://api.example/changes/v2\")`",
    ),
];

/// Returns the message for an unknown key: the nearest key with its syntax and effect, or all keys.
pub(crate) fn unknown_key_message(name: &str) -> String {
    if let Some((_, rest)) = FOREIGN_KEYS.iter().find(|(word, _)| *word == name) {
        return format!("`{name}` {rest}");
    }
    let names = KEYS.iter().map(|key| key.name);
    match suggest::nearest(name, names.clone()).and_then(key) {
        Some(Key {
            forms: [form, ..],
            help,
            ..
        }) => format!("unknown key `{name}`, did you mean `{form}` ({help})?"),
        _ => format!("unknown key `{name}`, {}", suggest::suggestion(name, names)),
    }
}

/// Returns the names of the options that the key accepts in its parentheses.
pub(crate) fn options(name: &str) -> Vec<&'static str> {
    key(name)
        .into_iter()
        .flat_map(|key| key.options)
        .map(|option| option.name)
        .collect()
}

/// Returns an example with a value for the key or option of this name, if it takes a value.
pub(crate) fn example_with_value(name: &str) -> Option<&'static str> {
    let keys = KEYS
        .iter()
        .flat_map(|key| key.forms.iter().map(move |form| (key.name, *form)));
    let options = KEYS
        .iter()
        .flat_map(|key| key.options)
        .map(|option| (option.name, option.example));
    keys.chain(options)
        .find(|(known, example)| *known == name && example.contains(" = "))
        .map(|(_, example)| example)
}

/// Panics, because the table has an option that no policy reads.
pub(crate) fn unread_option(of: &str, name: &str) -> ! {
    unreachable!("no policy reads the option `{name}` of `{of}`, though the grammar has it")
}

/// Returns examples of all forms of the key, for messages.
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
    fn key_names_are_unique_and_each_form_begins_with_the_name_of_its_key() {
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
    fn a_foreign_key_gets_a_special_message_and_a_typo_gets_a_suggestion() {
        assert!(unknown_key_message("path").contains("`get = \"/path\"`"));
        assert!(unknown_key_message("pach").contains("`patch = "));
        assert!(FOREIGN_KEYS.iter().all(|(word, _)| key(word).is_none()));
    }

    #[test]
    fn option_examples_begin_with_their_names_and_are_part_of_a_form() {
        for key in KEYS {
            for (index, option) in key.options.iter().enumerate() {
                assert!(
                    key.options[..index]
                        .iter()
                        .all(|other| other.name != option.name),
                    "{}",
                    option.name
                );
                assert!(option.example.starts_with(option.name), "{}", option.name);
                assert!(
                    key.forms.iter().any(|form| form.contains(option.example)),
                    "{}",
                    option.example
                );
            }
        }
    }
}
