//! The table of keys: what an attribute may say, to whom it is said, and how it is written.
//!
//! Everything that lists keys reads this table: the parser, its suggestions, the messages that say
//! what is accepted, and the test that holds the reference documentation to it.

use crate::policies::Policy;
use crate::spec::Spec;
use crate::suggest;

/// One key of `#[endpoint(…)]`.
pub(crate) struct Key {
    /// The key as written.
    pub(crate) name: &'static str,
    /// How it may be written, each form an example.
    pub(crate) forms: &'static [&'static str],
    /// Whether it may be given several times.
    pub(crate) repeatable: bool,
    /// What it promises, in one line.
    pub(crate) help: &'static str,
    /// The policy that reads it.
    pub(crate) policy: fn(&mut Spec) -> &mut dyn Policy,
}

macro_rules! keys {
    ($($name:literal => $policy:ident $(($repeatable:ident))?: [$($form:literal),+] $help:literal;)*) => {
        /// All keys, in the order of the reference.
        pub(crate) const KEYS: &[Key] = &[$(Key {
            name: $name,
            forms: &[$($form),+],
            repeatable: false $(|| stringify!($repeatable).len() > 0)?,
            help: $help,
            policy: |spec| &mut spec.$policy,
        }),*];
    };
}

keys! {
    "get" => route: [r#"get = "/path""#] "answers GET requests of the path";
    "post" => route: [r#"post = "/path""#] "answers POST requests of the path";
    "put" => route: [r#"put = "/path""#] "answers PUT requests of the path";
    "patch" => route: [r#"patch = "/path""#] "answers PATCH requests of the path";
    "delete" => route: [r#"delete = "/path""#] "answers DELETE requests of the path";
    "version" => version: ["version = 1", "version = 1..", "version = 1..=3"] "the versions of the API that serve it, under `/v1` and so on";
    "handle" => handle: ["handle = name"] "the name of the generated type, where the function's own is taken";
    "idempotent" => idempotency: ["idempotent", r#"idempotent(ttl = "24h", optional, anonymous, on_crash = rerun, headers("x-region"))"#] "a repeat with the same `Idempotency-Key` gets the first answer";
    "not_idempotent" => idempotency: [r#"not_idempotent = "why a repeat is harmless""#] "the decision that repeats need no key, and why";
    "rate_limit" => rate_limit(repeatable): [r#"rate_limit = "100/min""#, r#"rate_limit("100/min", burst = 20, algorithm = token_bucket, by = caller, cost = 1, name = "login")"#] "how often a caller, an address or everybody may call";
    "paginate" => paginate: ["paginate = cursor", "paginate(cursor, default = 50, max = 100)"] "a list that is answered page by page";
    "unpaginated" => paginate: [r#"unpaginated = "why it stays small""#] "the decision that a list needs no pages, and why";
    "timeout" => timeout: [r#"timeout = "5s""#] "the response deadline";
    "body_limit" => body_limit: [r#"body_limit = "1MB""#] "the largest request body";
    "public" => access: ["public"] "everybody may call, without authentication";
}

/// The key of this name.
pub(crate) fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Words that mean something elsewhere, and what says it here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("path", "the path stands with its method: write `get = \"/path\"`"),
    ("route", "the path stands with its method: write `get = \"/path\"`"),
    ("method", "the method is a key of its own: write `get = \"/path\"`"),
    ("head", "a GET endpoint answers HEAD as well: write `get = \"/path\"`"),
    ("options", "OPTIONS is answered by a layer, such as one for CORS: leave it out"),
    ("on_crash", "it is an option of `idempotent`: write `idempotent(on_crash = rerun)`"),
    ("ttl", "it is an option of `idempotent`: write `idempotent(ttl = \"24h\")`"),
    ("anonymous", "it is an option of `idempotent`: write `idempotent(anonymous)`"),
    ("optional", "it is an option of `idempotent`: write `idempotent(optional)`"),
    ("burst", "it is an option of `rate_limit`: write `rate_limit(\"100/min\", burst = 20)`"),
    ("auth", "authentication is the whole API's, and `public` leaves an endpoint out of it: remove `auth`"),
];

/// The message for an unknown key, with what to write instead: the nearest with its form and its promise, or all.
pub(crate) fn unknown(name: &str) -> String {
    if let Some((_, instead)) = ELSEWHERE.iter().find(|(word, _)| *word == name) {
        return format!("unknown key `{name}`: {instead}");
    }
    let names = KEYS.iter().map(|key| key.name);
    match suggest::nearest(name, names.clone()).and_then(key) {
        Some(Key { name: near, forms: [form, ..], help, .. }) => {
            format!("unknown key `{name}`, did you mean `{near}`? `{form}`: {help}")
        }
        _ => format!("unknown key `{name}`, accepted: {}", suggest::list(names)),
    }
}

/// How the key may be written, for messages.
pub(crate) fn forms(name: &str) -> String {
    let forms = key(name).map_or(&[][..], |key| key.forms);
    let quoted: Vec<String> = forms.iter().map(|form| format!("`{form}`")).collect();
    quoted.join(" or ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_forms_begin_with_them() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..index].iter().all(|other| other.name != key.name), "{}", key.name);
            assert!(key.forms.iter().all(|form| form.starts_with(key.name)), "{}", key.name);
            assert!(!key.help.is_empty());
        }
    }

    #[test]
    fn words_from_elsewhere_are_not_taken_for_a_slip() {
        assert!(unknown("path").contains("write `get"));
        assert!(unknown("pach").contains("`patch`"));
        assert!(ELSEWHERE.iter().all(|(word, _)| key(word).is_none()));
    }

    #[test]
    fn only_rate_limits_may_be_repeated() {
        let repeatable: Vec<_> = KEYS.iter().filter(|key| key.repeatable).map(|key| key.name).collect();
        assert_eq!(repeatable, ["rate_limit"]);
    }

    #[test]
    fn the_reference_lists_every_key_with_its_help() {
        let reference = include_str!("../../runtime/src/reference/endpoint.md");
        for key in KEYS {
            let row = format!("| `{}` |", key.name);
            let line = reference.lines().find(|line| line.starts_with(&row));
            assert!(line.is_some_and(|line| line.contains(key.help)), "{row} … {} |", key.help);
            for form in key.forms {
                assert!(reference.contains(form), "`{form}` is missing from the reference");
            }
        }
    }
}
