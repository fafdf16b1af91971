//! A handler that panics.

use crate::bench::Bench;
use crate::client::Order;

#[tokio::test]
async fn f01_the_source_location_of_a_panic_is_logged_under_serve() {
    let bench = Bench::start();
    let one = bench.instance("a");
    let reply = one.send(&Order::get("/v1/panic")).await;
    assert_eq!(reply.status, 500, "{reply:?}");
    let log = one.log();
    let (_, cause) = log
        .split_once("the handler panicked at ")
        .unwrap_or_else(|| panic!("no place in {log}"));
    let (place, message) = cause.split_once(": ").expect("a message");
    assert!(message.starts_with("the shop is closed"), "{log}");
    let position = place
        .split_once("src/main.rs:")
        .expect("the file of the handler")
        .1
        .split_once(':');
    let (line, column) = position.expect("a line and a column");
    assert!(
        [line, column]
            .iter()
            .all(|number| number.parse::<u32>().is_ok_and(|number| number > 0)),
        "{place}"
    );
    // The hook that was there before ran, too.
    assert!(
        log.contains("' panicked at ") || log.contains(") panicked at "),
        "{log}"
    );
}
