//! Sockets to receive on, open before anything else starts.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, getsockname, socket};
use nix::sys::socket::{setsockopt, sockopt};

use crate::config::Listen;

/// Any client in the pod may write, none may read: what agents do with theirs.
const SOCKET_MODE: u32 = 0o722;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("failed to listen on {listen}")]
    Bind { listen: Listen, source: io::Error },
    #[error("{path} exists and is no socket")]
    NotASocket { path: PathBuf },
    #[error("another process listens on {path}")]
    SocketTaken { path: PathBuf },
}

/// One socket, which one worker reads.
#[derive(Debug)]
pub(crate) struct Listener {
    fd: OwnedFd,
    /// How long datagrams may pile up unread: half of the receive buffer at a gigabyte a second, more than one core sends over
    /// loopback. Zero for a Unix socket, whose queue holds as little as ten datagrams and whose clients wait when it is full.
    pub(crate) safe_nap: Duration,
    /// The file to remove in the end.
    path: Option<PathBuf>,
}

impl Listener {
    /// Opens one socket for `listen`, or with `multi_thread` one a core that share its port. Returns where they listen, too: of
    /// port 0 the kernel makes one that is free.
    pub(crate) fn bind(listen: &Listen, multi_thread: bool, buffer_bytes: usize) -> Result<(Listen, Vec<Self>), Error> {
        let bind_error = |source| Error::Bind { listen: listen.clone(), source };
        match listen {
            Listen::Udp(address) => {
                let first = udp(*address, false).map_err(bind_error)?;
                let address = local_address(&first).unwrap_or(*address);
                let mut sockets = vec![first];
                if multi_thread {
                    // A socket that shares its port would also share it with another filter. The one above proved it free.
                    sockets.clear();
                    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
                    for _ in 0..cores {
                        sockets.push(udp(address, true).map_err(bind_error)?);
                    }
                }
                let listeners = sockets.into_iter().map(|fd| Self::of_udp(fd, buffer_bytes)).collect();
                Ok((Listen::Udp(address), listeners))
            }
            Listen::Unix(path) => {
                remove_stale(path)?;
                let socket = UnixDatagram::bind(path).map_err(bind_error)?;
                fs::set_permissions(path, Permissions::from_mode(SOCKET_MODE)).map_err(bind_error)?;
                let listener = Self { fd: socket.into(), safe_nap: Duration::ZERO, path: Some(path.clone()) };
                Ok((listen.clone(), vec![listener]))
            }
        }
    }

    fn of_udp(fd: OwnedFd, buffer_bytes: usize) -> Self {
        // Beyond the system's maximum only with CAP_NET_ADMIN; else the kernel grants its maximum and says nothing.
        if setsockopt(&fd, sockopt::RcvBufForce, &buffer_bytes).is_err() {
            let _unchanged_is_fine = setsockopt(&fd, sockopt::RcvBuf, &buffer_bytes);
        }
        let _never_refused_on_linux = setsockopt(&fd, sockopt::RxqOvfl, &1);
        let granted = nix::sys::socket::getsockopt(&fd, sockopt::RcvBuf).unwrap_or(0);
        Self { fd, safe_nap: Duration::from_nanos(granted as u64 / 2), path: None }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Listener {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _gone_already_is_fine = fs::remove_file(path);
        }
    }
}

fn udp(address: SocketAddr, share_port: bool) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    if share_port {
        setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

fn local_address(fd: &OwnedFd) -> Option<SocketAddr> {
    let address: SockaddrStorage = getsockname(fd.as_raw_fd()).ok()?;
    let v4 = address.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

/// A process that was killed leaves its socket's file behind, and nobody answers there.
fn remove_stale(path: &Path) -> Result<(), Error> {
    let Ok(found) = fs::symlink_metadata(path) else { return Ok(()) };
    if !found.file_type().is_socket() {
        return Err(Error::NotASocket { path: path.to_owned() });
    }
    let is_served = UnixDatagram::unbound().and_then(|socket| socket.connect(path)).is_ok();
    if is_served {
        return Err(Error::SocketTaken { path: path.to_owned() });
    }
    let _bind_says_why_not = fs::remove_file(path);
    Ok(())
}
