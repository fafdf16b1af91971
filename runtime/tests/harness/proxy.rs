use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use aplomb::testing::{Proxy, RawConnection, RedisServer, Reply, eventually};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{sleep, timeout};

/// The time limit of a step. It is longer than any step takes on a slow machine.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A delay that is longer than any test.
const NEVER: Duration = Duration::from_hours(1);

struct Client(RawConnection);

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        Self(RawConnection::connect(address).await)
    }

    async fn send(&mut self, command: &str) {
        self.0.write(command).await;
    }

    async fn expect(&mut self, reply: &str) {
        assert_eq!(
            String::from_utf8_lossy(&self.0.read_exact(reply.len()).await),
            reply
        );
    }

    async fn ping(&mut self) {
        self.send("PING\r\n").await;
        self.expect("+PONG\r\n").await;
    }

    /// Reads until the connection ends. A reset counts as an end.
    async fn rest(&mut self) -> Vec<u8> {
        self.0.rest().await
    }

    async fn expect_end(&mut self) {
        assert_eq!(self.rest().await, b"");
    }
}

async fn start() -> (RedisServer, Proxy) {
    let server = RedisServer::start();
    let proxy = Proxy::start(server.address()).await;
    (server, proxy)
}

async fn connect(proxy: &Proxy) -> Client {
    Client::connect(proxy.address()).await
}

/// Returns the number of clients of the server, without the client that sends this command.
fn client_count(server: &RedisServer) -> usize {
    match server.command(&["CLIENT", "LIST"]) {
        Reply::Bytes(list) => {
            list.split(|&byte| byte == b'\n')
                .filter(|line| !line.is_empty())
                .count()
                - 1
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_and_replies_are_forwarded() {
    let (server, proxy) = start().await;
    assert_eq!(
        proxy.url(),
        format!("redis://127.0.0.1:{}", proxy.address().port())
    );
    let mut client = connect(&proxy).await;
    client.ping().await;
    let long = "x".repeat(1 << 20);
    client
        .send(&format!(
            "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n${}\r\n{long}\r\n",
            long.len()
        ))
        .await;
    client.expect("+OK\r\n").await;
    client.send("GET key\r\n").await;
    client
        .expect(&format!("${}\r\n{long}\r\n", long.len()))
        .await;
    assert_eq!(server.command(&["STRLEN", "key"]), Reply::Integer(1 << 20));
}

#[tokio::test]
async fn the_end_of_a_connection_is_forwarded_in_both_directions() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    client.ping().await;
    drop(client);
    eventually("the server sees the disconnect", async || {
        client_count(&server) == 0
    })
    .await;

    let mut client = connect(&proxy).await;
    client.send("PING\r\nQUIT\r\n").await;
    assert_eq!(client.rest().await, b"+PONG\r\n+OK\r\n");
}

#[tokio::test]
async fn connections_end_if_the_server_is_down() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    client.ping().await;
    server.kill();
    client.expect_end().await;
    connect(&proxy).await.expect_end().await;
    server.restart();
    connect(&proxy).await.ping().await;
}

#[tokio::test]
async fn delayed_replies_keep_their_order() {
    let (_server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    proxy.delay(Duration::from_millis(200));
    let sent = Instant::now();
    client.ping().await;
    assert!(sent.elapsed() >= Duration::from_millis(200));

    client.send("ECHO 1\r\n").await;
    eventually("the request is sent", async || proxy.requests() == 2).await;
    proxy.delay(Duration::ZERO);
    client.send("ECHO 2\r\n").await;
    client.expect("$1\r\n1\r\n$1\r\n2\r\n").await;
}

#[tokio::test]
async fn requests_are_not_delayed_and_delayed_replies_arrive_before_the_connection_ends() {
    let (server, proxy) = start().await;
    proxy.delay(Duration::from_millis(200));
    let mut client = connect(&proxy).await;
    client.send("SET key 1\r\nQUIT\r\n").await;
    let done = async || server.command(&["GET", "key"]) == Reply::bytes("1");
    eventually("the request is not delayed", done).await;
    assert_eq!(client.rest().await, b"+OK\r\n+OK\r\n");
}

#[tokio::test]
async fn swallowed_replies_are_lost_but_their_requests_are_executed() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    client.ping().await;
    proxy.swallow_replies(true);
    client.send("SET key 1\r\nQUIT\r\n").await;
    client.expect_end().await;
    assert_eq!(server.command(&["GET", "key"]), Reply::bytes("1"));

    proxy.swallow_replies(false);
    connect(&proxy).await.ping().await;
}

#[tokio::test]
async fn delayed_replies_can_be_swallowed() {
    let (server, proxy) = start().await;
    proxy.delay(Duration::from_secs(1));
    let mut client = connect(&proxy).await;
    client.send("SET key 1\r\nQUIT\r\n").await;
    eventually("the request is executed", async || {
        server.command(&["EXISTS", "key"]) == Reply::Integer(1)
    })
    .await;
    // The pause lets the reply reach the proxy. A reply that arrives later is also swallowed.
    sleep(Duration::from_millis(50)).await;
    proxy.swallow_replies(true);
    client.expect_end().await;
}

#[tokio::test]
async fn a_connection_ends_after_a_lost_reply() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let proxy = Proxy::start(server.local_addr().expect("an address")).await;
    let mut client = connect(&proxy).await;
    let (mut replying, _) = timeout(TIMEOUT, server.accept())
        .await
        .expect("in time")
        .expect("a client");
    proxy.swallow_replies(true);
    // The reply of 32 MiB is larger than all socket buffers in between, so the proxy has read a
    // part of it.
    let long = vec![b'x'; 32 << 20];
    timeout(TIMEOUT, replying.write_all(&long))
        .await
        .expect("in time")
        .expect("the request is sent");
    proxy.swallow_replies(false);
    client.expect_end().await;
}

#[tokio::test]
async fn swallowed_requests_are_lost_and_close_their_connections() {
    let (server, proxy) = start().await;
    let (mut losing, mut other) = (connect(&proxy).await, connect(&proxy).await);
    losing.ping().await;
    other.ping().await;
    proxy.swallow_requests(true);
    losing.send("SET key 1\r\n").await;
    eventually("the request is swallowed", async || {
        proxy.requests_named("SET") == 1
    })
    .await;
    proxy.swallow_requests(false);
    losing.expect_end().await;
    other.ping().await;
    assert_eq!(server.command(&["EXISTS", "key"]), Reply::Integer(0));
}

#[tokio::test]
async fn a_cut_ends_open_connections() {
    let (server, proxy) = start().await;
    let mut open = [connect(&proxy).await, connect(&proxy).await];
    for client in &mut open {
        client.ping().await;
    }
    assert_eq!(client_count(&server), 2);
    proxy.cut().await;
    for client in &mut open {
        client.expect_end().await;
    }
    eventually("the server sees the disconnect", async || {
        client_count(&server) == 0
    })
    .await;
    connect(&proxy).await.ping().await;
}

#[tokio::test]
async fn a_cut_ends_connections_without_a_reply() {
    let (server, proxy) = start().await;
    proxy.delay(NEVER);
    let (mut delayed, mut unanswered) = (connect(&proxy).await, connect(&proxy).await);
    delayed.send("PING\r\n").await;
    eventually("the request is sent", async || proxy.requests() == 1).await;
    server.pause();
    unanswered.send("PING\r\n").await;
    eventually("the request is sent", async || proxy.requests() == 2).await;
    timeout(TIMEOUT, proxy.cut()).await.expect("in time");
    delayed.expect_end().await;
    unanswered.expect_end().await;
}

#[tokio::test]
async fn new_connections_can_be_refused_while_old_ones_stay() {
    let (_server, proxy) = start().await;
    let mut old = connect(&proxy).await;
    old.ping().await;
    proxy.refuse(true);
    connect(&proxy).await.expect_end().await;
    old.ping().await;
    assert_eq!(proxy.connections(), 1);
    proxy.refuse(false);
    connect(&proxy).await.ping().await;
    assert_eq!(proxy.connections(), 2);
}

#[tokio::test]
async fn replies_are_rewritten_but_requests_are_not() {
    let (server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    proxy.rewrite(b"7.0.15", b"6.0.20");
    client.send("SET key version:7.0.15\r\nGET key\r\n").await;
    client.expect("+OK\r\n$14\r\nversion:6.0.20\r\n").await;
    assert_eq!(
        server.command(&["GET", "key"]),
        Reply::bytes("version:7.0.15")
    );
    proxy.rewrite(b"x", b"x");
    client.send("GET key\r\n").await;
    client.expect("$14\r\nversion:7.0.15\r\n").await;
}

#[tokio::test]
async fn commands_are_counted_for_any_fragmentation() {
    let (_server, proxy) = start().await;
    let mut client = connect(&proxy).await;
    for byte in "*2\r\n$4\r\necho\r\n$6\r\n*1\r\n$4\r\n".chars() {
        assert_eq!(proxy.requests(), 0);
        client.send(&byte.to_string()).await;
    }
    client.expect("$6\r\n*1\r\n$4\r\n").await;
    client.send(&"*1\r\n$4\r\nPING\r\n".repeat(3)).await;
    client.expect(&"+PONG\r\n".repeat(3)).await;
    let named = ["ECHO", "ping", "EVALSHA"].map(|name| proxy.requests_named(name));
    assert_eq!(
        (proxy.requests(), named, proxy.connections()),
        (4, [1, 3, 0], 1)
    );

    proxy.reset_counts();
    client.ping().await;
    assert_eq!(
        (
            proxy.requests(),
            proxy.requests_named("ECHO"),
            proxy.connections()
        ),
        (1, 0, 0)
    );
}

#[tokio::test]
async fn a_dropped_proxy_leaves_no_task_and_no_connection() {
    let (server, proxy) = start().await;
    let (address, mut client) = (proxy.address(), connect(&proxy).await);
    client.ping().await;
    assert_eq!(Handle::current().metrics().num_alive_tasks(), 2);
    drop(proxy);
    client.expect_end().await;
    eventually("the tasks of the proxy end", async || {
        Handle::current().metrics().num_alive_tasks() == 0
    })
    .await;
    eventually("the server sees the disconnect", async || {
        client_count(&server) == 0
    })
    .await;
    TcpStream::connect(address)
        .await
        .expect_err("the connection is refused");
}
