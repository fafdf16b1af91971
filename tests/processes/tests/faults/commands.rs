//! Tests of the commands for operators, with stores that no example uses.

use aplomb::testing::RedisServer;

use crate::deployment::Deployment;

/// The exit code and the output of a command.
struct Printed {
    code: i32,
    output: String,
    errors: String,
}

/// Runs `check` without `APLOMB_SECRET`, and with these settings.
fn check(settings: &[(&str, &str)]) -> Printed {
    let deployment = Deployment::start();
    let command = deployment.settings("a").without("APLOMB_SECRET");
    let printed = command.with(settings).command(&["check"]).run();
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Printed {
        code: printed.status.code().expect("no signal"),
        output: text(printed.stdout),
        errors: text(printed.stderr),
    }
}

#[track_caller]
fn assert_warns(errors: &str, warning: &str) {
    let lines = errors.lines().filter(|line| line.starts_with(warning));
    assert_eq!(lines.count(), 1, "{warning} in {errors}");
}

#[test]
fn check_warns_of_several_instances_with_a_store_in_memory() {
    let settings = [("APLOMB_STORE", "memory:"), ("APLOMB_INSTANCES", "3")];
    let Printed { code, errors, .. } = check(&settings);
    assert_eq!(code, 0, "{errors}");
    for warning in [
        "warning: APLOMB_SECRET is not set: cursors are valid only until this process ends",
        "warning: 3 instances each have their own memory store for idempotency keys and rate limits",
    ] {
        assert_warns(&errors, warning);
    }
}

#[test]
fn check_warns_of_a_redis_that_can_lose_data_and_of_keys_without_a_limit() {
    let redis = RedisServer::start_with(&["--appendonly", "no"]);
    let Printed {
        code,
        output,
        errors,
    } = check(&[("APLOMB_STORE", &redis.url())]);
    assert_eq!(code, 0, "{errors}");
    let store = format!("store ({})", redis.url());
    assert!(output.contains(&store), "{output}");
    for warning in [
        "warning: a crash of the store loses ",
        "warning: APLOMB_SECRET is not set: the store keeps the secret, and cursors become invalid if the store loses it",
        "warning: 4 `idempotent` endpoints have no `rate_limit`",
    ] {
        assert_warns(&errors, warning);
    }
    assert!(
        errors.contains("`place_order` (POST /orders) in ")
            && !errors.contains("`place_limited_order`"),
        "only the endpoints without a limit: {errors}"
    );
}

#[test]
fn check_names_a_redis_that_cannot_be_reached() {
    let redis = RedisServer::start();
    let url = redis.url().replace("redis://", "redis://:hunter2@");
    redis.kill();
    let Printed { code, errors, .. } = check(&[("APLOMB_STORE", &url)]);
    assert_eq!(code, 1);
    let lines = errors.lines().filter(|line| line.starts_with("error: "));
    let lines: Vec<_> = lines.collect();
    assert!(
        lines.len() == 1 && lines[0].contains("cannot be used: "),
        "{errors}"
    );
    assert!(!errors.contains("hunter2"), "{errors}");
}

#[test]
fn a_redis_needs_no_migrations() {
    let deployment = Deployment::start();
    let expected = "nothing to do: the store (redis://127.0.0.1:1) needs no migrations\n";
    for (arguments, start) in [(&["migrate"][..], ""), (&["migrate", "--print"], "-- ")] {
        let command = deployment.settings("a").command(arguments);
        let printed = command
            .with(&[("APLOMB_STORE", "redis://127.0.0.1:1")])
            .run();
        assert_eq!(printed.status.code(), Some(0), "{printed:?}");
        let output = String::from_utf8(printed.stdout).expect("UTF-8");
        assert_eq!(output, format!("{start}{expected}"));
        assert!(printed.stderr.is_empty());
    }
}
