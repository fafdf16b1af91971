//! Tests code that the macros accept. Each fixture is a module that compiles without a warning. A
//! fixture also tests the behaviour that needs no server.

#![deny(warnings)]
#![allow(clippy::unused_async, reason = "the fixtures test signatures")]

#[path = "fixtures/pass/attributes.rs"]
mod attributes;
#[path = "fixtures/pass/deprecation.rs"]
mod deprecation;
#[path = "fixtures/pass/errors.rs"]
mod errors;
#[path = "fixtures/pass/extractors.rs"]
mod extractors;
#[path = "fixtures/pass/hygiene.rs"]
mod hygiene;
#[path = "fixtures/pass/links.rs"]
mod links;
#[path = "fixtures/pass/lists.rs"]
mod lists;
#[path = "fixtures/pass/made_by_macro.rs"]
mod made_by_macro;
#[path = "fixtures/pass/names.rs"]
mod names;
#[path = "fixtures/pass/policies.rs"]
mod policies;
#[path = "fixtures/pass/readme.rs"]
mod readme;
#[path = "fixtures/pass/renamed.rs"]
mod renamed;
#[path = "fixtures/pass/routes.rs"]
mod routes;
