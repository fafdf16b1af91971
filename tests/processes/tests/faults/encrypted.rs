//! Instances that rotate their encryption keys.

use crate::client::{Order, ResponseChecks};
use crate::deployment::Deployment;
use crate::instance::Instance;

const OLD: &str = "old:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NEW: &str = "new:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI";

fn instance(deployment: &Deployment, name: &str, keys: &str) -> Instance {
    deployment.instance_with(name, &[("APLOMB_ENCRYPTION_KEYS", keys)])
}

#[tokio::test]
async fn a26_encryption_keys_can_be_rotated_in_steps_and_every_retry_is_a_replay() {
    let deployment = Deployment::start();
    let (tea, coffee) = (Order::of("tea"), Order::of("coffee"));
    let before = instance(&deployment, "before", OLD);
    let by_old = before.send(&tea).await;
    by_old.assert_placed();
    let with_both = instance(&deployment, "learned", &format!("{OLD},{NEW}"));
    let rotated = instance(&deployment, "turned", &format!("{NEW}, {OLD}"));
    let by_new = rotated.send(&coffee).await;
    by_new.assert_placed();
    for instance in [&with_both, &rotated] {
        instance.send(&tea).await.assert_replay_of(&by_old);
        instance.send(&coffee).await.assert_replay_of(&by_new);
    }
    instance(&deployment, "after", NEW)
        .send(&coffee)
        .await
        .assert_replay_of(&by_new);
    assert_eq!((deployment.runs("tea"), deployment.runs("coffee")), (1, 1));
}

#[tokio::test]
async fn a26_a_missing_encryption_key_is_logged_with_the_record() {
    let deployment = Deployment::start();
    let tea = Order::of("tea");
    let first = instance(&deployment, "first", OLD).send(&tea).await;
    first.assert_placed();
    let record = deployment.records().pop().expect("a record");
    let (caller, name) = record.split_once("}:i:").expect("the name of a record");
    let name = format!("{}.{name}", caller.rsplit('{').next().expect("a caller"));
    let instances = [
        deployment.instance("without"),
        instance(&deployment, "other", NEW),
    ];
    for instance in instances {
        instance.send(&tea).await.assert_store_unavailable();
        let log = instance.log();
        let expected = format!(
            "the store has an unreadable value at `{name}`: the response is encrypted with the key `old`, which this \
             instance does not have"
        );
        assert!(log.contains(&expected), "{log}");
    }
    assert_eq!(deployment.runs("tea"), 1);
    instance(&deployment, "again", OLD)
        .send(&tea)
        .await
        .assert_replay_of(&first);
}
