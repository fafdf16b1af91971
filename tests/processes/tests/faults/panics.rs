//! A handler that panics.

use crate::client::Order;
use crate::deployment::Deployment;

#[tokio::test]
async fn f01_the_source_location_of_a_panic_is_logged_under_serve() {
    let deployment = Deployment::start();
    let one = deployment.instance("a");
    let reply = one.send(&Order::get("/v1/panic")).await;
    assert_eq!(reply.status, 500, "{reply:?}");
    let log = one.log();
    let (_, cause) = log
        .split_once("the handler panicked at ")
        .unwrap_or_else(|| panic!("no source location in {log}"));
    let (location, message) = cause.split_once(": ").expect("a message");
    assert!(message.starts_with("the shop is closed"), "{log}");
    let position = location
        .split_once("src/main.rs:")
        .expect("the file of the handler")
        .1
        .split_once(':');
    let (line, column) = position.expect("a line and a column");
    assert!(
        [line, column]
            .iter()
            .all(|number| number.parse::<u32>().is_ok_and(|number| number > 0)),
        "{location}"
    );
    // The panic hook that was installed before `serve` has run too.
    assert!(
        log.contains("' panicked at ") || log.contains(") panicked at "),
        "{log}"
    );
}
