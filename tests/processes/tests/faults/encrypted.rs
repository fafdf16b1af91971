//! A service whose instances change the keys with which they seal answers.

use crate::bench::Bench;
use crate::client::{Checked, Order};
use crate::instance::Instance;

const OLD: &str = "old:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NEW: &str = "new:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

fn instance(bench: &Bench, name: &str, keys: &str) -> Instance {
    bench.instance_with(name, &[("APLOMB_ENCRYPTION_KEYS", keys)])
}

#[tokio::test]
async fn a26_encryption_keys_can_be_rotated_in_steps_and_every_retry_is_a_replay() {
    let bench = Bench::start();
    let (tea, coffee) = (Order::of("tea"), Order::of("coffee"));
    let before = instance(&bench, "before", OLD);
    let by_old = before.send(&tea).await;
    by_old.placed();
    let learned = instance(&bench, "learned", &format!("{OLD},{NEW}"));
    let turned = instance(&bench, "turned", &format!("{NEW}, {OLD}"));
    let by_new = turned.send(&coffee).await;
    by_new.placed();
    for instance in [&learned, &turned] {
        instance.send(&tea).await.replays(&by_old);
        instance.send(&coffee).await.replays(&by_new);
    }
    instance(&bench, "after", NEW)
        .send(&coffee)
        .await
        .replays(&by_new);
    assert_eq!((bench.runs("tea"), bench.runs("coffee")), (1, 1));
}

#[tokio::test]
async fn a26_a_missing_encryption_key_is_logged_with_the_record() {
    let bench = Bench::start();
    let tea = Order::of("tea");
    let first = instance(&bench, "first", OLD).send(&tea).await;
    first.placed();
    let record = bench.records().pop().expect("a record");
    let (caller, name) = record.split_once("}:i:").expect("the name of a record");
    let name = format!("{}.{name}", caller.rsplit('{').next().expect("a caller"));
    let without = [bench.instance("without"), instance(&bench, "other", NEW)];
    for instance in without {
        instance.send(&tea).await.no_store();
        let log = instance.log();
        let why = format!(
            "the store holds at `{name}` what cannot be read: an answer is sealed with the key `old`, which this \
             instance does not have"
        );
        assert!(log.contains(&why), "{log}");
    }
    assert_eq!(bench.runs("tea"), 1);
    instance(&bench, "again", OLD)
        .send(&tea)
        .await
        .replays(&first);
}
