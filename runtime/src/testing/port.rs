use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A reserved port of the loopback interface, for a server that is restarted on the same port.
///
/// On Linux a bound socket that never listens reserves the port. The system does not give the port
/// to another process that needs a free port. The server can still listen on the port, because
/// both sockets set `SO_REUSEADDR`. On other systems another process can take the port while the
/// server is down.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    _reservation: Option<TcpSocket>,
}

impl Port {
    pub(super) fn free() -> Self {
        Self::bind().expect("the loopback interface has a free port")
    }

    fn bind() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        let address = socket.local_addr()?;
        Ok(Self {
            address,
            _reservation: cfg!(target_os = "linux").then_some(socket),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Creates a port that is not reserved.
    #[cfg(test)]
    pub(super) const fn unreserved(address: SocketAddr) -> Self {
        Self {
            address,
            _reservation: None,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_free_port_is_reserved_and_refuses_connections() {
        let port = Port::free();
        let taken = TcpSocket::new_v4()
            .expect("a socket")
            .bind(port.address())
            .expect_err("the port is reserved");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let refused = std::net::TcpStream::connect(port.address()).expect_err("no process listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
