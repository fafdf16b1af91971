use std::io::{Read, Write};
use std::net::TcpStream;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aplomb::testing::{Program, RedisServer, Reply};

use crate::is_running;

/// The time limit of a reply. It is longer than any reply takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(10);

fn status(text: &str) -> Reply {
    Reply::Status(String::from(text))
}

fn set(server: &RedisServer) {
    assert_eq!(server.command(&["SET", "key", "value"]), status("OK"));
}

fn setting(server: &RedisServer, name: &str) -> String {
    match server.command(&["CONFIG", "GET", name]) {
        Reply::Array(pair) => match &pair[..] {
            [_, Reply::Bytes(value)] => String::from_utf8_lossy(value).into_owned(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn directory(server: &RedisServer) -> PathBuf {
    Path::new(&setting(server, "dir"))
        .parent()
        .expect("the data directory has a parent")
        .to_owned()
}

fn pid(server: &RedisServer) -> u32 {
    server.pid().expect("a running server")
}

#[test]
fn a_started_server_replies_at_its_url() {
    let server = RedisServer::start();
    assert_eq!(server.command(&["PING"]), status("PONG"));
    assert_eq!(
        server.url(),
        format!("redis://127.0.0.1:{}", server.address().port())
    );
    assert_eq!(
        setting(&server, "port"),
        server.address().port().to_string()
    );
    assert!(is_running(pid(&server)));
}

#[test]
fn two_servers_share_no_process_and_no_data() {
    let (one, other) = (RedisServer::start(), RedisServer::start());
    set(&one);
    assert_eq!(other.command(&["GET", "key"]), Reply::Nil);
    assert_ne!(pid(&one), pid(&other));
    assert_ne!(directory(&one), directory(&other));
}

#[test]
fn a_command_can_contain_any_bytes_and_its_error_is_a_reply() {
    let server = RedisServer::start();
    assert_eq!(
        server.command(&[b"SET".as_slice(), b"\r\n\0", b"\xff"]),
        status("OK")
    );
    assert_eq!(
        server.command(&[b"GET".as_slice(), b"\r\n\0"]),
        Reply::bytes(b"\xff")
    );
    assert_eq!(server.command(&["EXISTS", "\r\n\0"]), Reply::Integer(1));
    let rejected = server.command(&["LPUSH", "\r\n\0", "x"]);
    assert!(
        matches!(&rejected, Reply::Error(error) if error.starts_with("WRONGTYPE")),
        "{rejected:?}"
    );
}

#[test]
fn a_restart_keeps_data_and_address() {
    let server = RedisServer::start();
    let (address, before) = (server.address(), pid(&server));
    set(&server);
    server.restart();
    assert_eq!(server.command(&["GET", "key"]), Reply::bytes("value"));
    assert_eq!(server.address(), address);
    assert_ne!(pid(&server), before);
    assert!(!is_running(before));
}

#[test]
fn an_empty_restart_loses_data() {
    let server = RedisServer::start();
    set(&server);
    server.restart_empty();
    assert_eq!(server.command(&["DBSIZE"]), Reply::Integer(0));
    set(&server);
    server.restart();
    assert_eq!(server.command(&["DBSIZE"]), Reply::Integer(1));
}

#[test]
fn options_survive_restarts() {
    let server =
        RedisServer::start_with(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]);
    for restart in [RedisServer::restart, RedisServer::restart_empty] {
        assert_eq!(setting(&server, "maxmemory"), (100 << 20).to_string());
        assert_eq!(setting(&server, "maxmemory-policy"), "allkeys-lru");
        assert_eq!(setting(&server, "appendfsync"), "always");
        restart(&server);
    }
}

#[test]
fn a_server_with_a_password_starts() {
    let server = RedisServer::start_with(&["--requirepass", "secret"]);
    assert!(
        matches!(server.command(&["PING"]), Reply::Error(error) if error.starts_with("NOAUTH"))
    );
}

#[test]
fn a_paused_server_does_not_reply() {
    let server = RedisServer::start();
    let mut client = TcpStream::connect(server.address()).expect("a listening server");
    server.pause();
    client
        // A running server replies much faster.
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a timeout");
    client
        .write_all(b"PING\r\n")
        .expect("the system buffers the request");
    let mut pong = [0; 7];
    client
        .read_exact(&mut pong)
        .expect_err("the server is paused");

    server.resume();
    client.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    client
        .read_exact(&mut pong)
        .expect("the reply after the pause");
    assert_eq!(&pong, b"+PONG\r\n");
}

#[test]
fn a_paused_server_can_be_restarted() {
    let server = RedisServer::start();
    set(&server);
    server.pause();
    server.restart();
    assert_eq!(server.command(&["GET", "key"]), Reply::bytes("value"));
}

#[test]
fn a_killed_server_refuses_connections() {
    let server = RedisServer::start();
    let (address, pid) = (server.address(), pid(&server));
    server.kill();
    server.kill();
    assert!(!is_running(pid));
    assert_eq!(server.pid(), None);
    let rejected = TcpStream::connect(address).expect_err("the connection is refused");
    assert_eq!(rejected.kind(), std::io::ErrorKind::ConnectionRefused);

    let panic = catch_unwind(|| server.command(&["PING"])).expect_err("a panic");
    let message = panic.downcast_ref::<String>().expect("a message");
    assert!(
        message.starts_with("redis-server at 127.0.0.1:"),
        "{message}"
    );
}

#[test]
#[should_panic(expected = "was killed and not started again")]
fn a_killed_server_cannot_be_paused() {
    let server = RedisServer::start();
    server.kill();
    server.pause();
}

#[test]
fn scripts_and_keys_can_be_flushed() {
    let server = RedisServer::start();
    set(&server);
    let Reply::Bytes(sha) = server.command(&["SCRIPT", "LOAD", "return 1"]) else {
        panic!("no digest")
    };
    let script_exists = || server.command(&[b"SCRIPT".as_slice(), b"EXISTS", &sha]);
    assert_eq!(script_exists(), Reply::Array(vec![Reply::Integer(1)]));
    server.flush_scripts();
    assert_eq!(script_exists(), Reply::Array(vec![Reply::Integer(0)]));
    assert_eq!(server.command(&["DBSIZE"]), Reply::Integer(1));
    server.flush_all();
    assert_eq!(server.command(&["DBSIZE"]), Reply::Integer(0));
}

#[test]
fn a_dropped_server_leaves_no_process_and_no_directory() {
    for pause in [false, true] {
        let server = RedisServer::start();
        let (pid, directory) = (pid(&server), directory(&server));
        assert!(directory.join("log").exists());
        if pause {
            server.pause();
        }
        drop(server);
        assert!(!is_running(pid), "paused: {pause}");
        assert!(!directory.exists(), "paused: {pause}");
    }
}

#[test]
#[should_panic(expected = "such-option")]
fn a_failed_start_shows_the_log_of_the_server() {
    RedisServer::start_with(&["--such-option", "1"]);
}

/// Runs this test again in a process with an empty `PATH`.
#[test]
fn a_missing_program_is_reported_in_one_line() {
    const NOWHERE: &str = "/nowhere";
    if std::env::var("PATH").is_ok_and(|path| path == NOWHERE) {
        RedisServer::start();
    }
    let executable = std::env::current_exe().expect("a path");
    let test = "redis_server::a_missing_program_is_reported_in_one_line";
    let output = Program::new(executable)
        .args(["--exact", test, "--nocapture"])
        .env("PATH", NOWHERE)
        .run();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = stderr
        .lines()
        .filter(|line| line.contains("redis-server"))
        .collect();
    let expected = "redis-server is not on the PATH: install it, for example with 'apt-get install redis-server'";
    assert_eq!(lines, [expected], "{stderr}");
    assert!(!output.status.success());
    assert!(
        stderr.contains(file!()),
        "the message names the line of the test: {stderr}"
    );
}
