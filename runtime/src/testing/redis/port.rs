use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::TcpSocket;

/// A port of the loopback interface for a server that comes and goes.
///
/// On Linux a socket that is bound and never listens holds it: the system then gives the port to
/// nobody else, while the server, which sets `SO_REUSEADDR` as this does, can still listen there.
/// Elsewhere somebody could have it before the server is started again.
#[derive(Debug)]
pub(super) struct Port {
    address: SocketAddr,
    _held: Option<TcpSocket>,
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
            _held: cfg!(target_os = "linux").then_some(socket),
        })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A port that may be anybody's.
    #[cfg(test)]
    pub(super) const fn unheld(address: SocketAddr) -> Self {
        Self {
            address,
            _held: None,
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn it_is_held_and_nobody_listens() {
        let port = Port::free();
        let taken = TcpSocket::new_v4()
            .expect("a socket")
            .bind(port.address())
            .expect_err("it is held");
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
        let refused = std::net::TcpStream::connect(port.address()).expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
