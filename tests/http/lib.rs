//! Nothing: the tests stand in `main.rs`, beside their policies.
