//! Takes connections and deals them out.

use std::{
    io::{self, Write},
    net::SocketAddr,
    os::fd::AsRawFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};
use socket2::{SockRef, TcpKeepalive};

use super::{Mailbox, Message};
use crate::{metrics::Stats, shared::Shared};

const LISTENER: Token = Token(0);
const STOP: Token = Token(1);
/// Connections that the kernel holds for us: a burst of reconnecting clients.
const BACKLOG: i32 = 1024;
/// Time until another try when the process has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);
/// As Redis: dead peers are noticed within about ten minutes.
const KEEPALIVE: Duration = Duration::from_secs(300);
const TOO_MANY: &[u8] = b"-ERR max number of clients reached\r\n";

/// A bound port.
pub struct Acceptor {
    listener: TcpListener,
    address: SocketAddr,
    poll: Poll,
    handle: AcceptorHandle,
}

/// Stops an acceptor from another thread.
#[derive(Clone)]
pub struct AcceptorHandle {
    waker: Arc<Waker>,
    stopped: Arc<AtomicBool>,
}

impl AcceptorHandle {
    /// The port is free once the acceptor's thread has ended.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let _ = self.waker.wake(); // fails only if the thread is gone already
    }
}

impl Acceptor {
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(socket.into());
        let address = listener.local_addr()?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        let waker = Arc::new(Waker::new(poll.registry(), STOP)?);
        let handle = AcceptorHandle { waker, stopped: Arc::new(AtomicBool::new(false)) };
        Ok(Self { listener, address, poll, handle })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn handle(&self) -> AcceptorHandle {
        self.handle.clone()
    }

    /// Deals connections out to `loops` until stopped. Everything counted goes to `stats`, which is this thread's.
    pub fn run(mut self, shared: &Shared, stats: &Stats, loops: &[Arc<Mailbox>]) -> io::Result<()> {
        let mut events = Events::with_capacity(8);
        let mut next = 0;
        let mut pause = None;
        loop {
            match self.poll.poll(&mut events, pause.take()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            if self.handle.stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            loop {
                match self.listener.accept() {
                    Ok((stream, peer)) => {
                        stats.connections.add(1);
                        self.deal(stream, peer, shared, stats, &loops[next % loops.len()])?;
                        next = next.wrapping_add(1);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(error) => {
                        shared.events.accept_failed(&error);
                        pause = Some(PAUSE); // the event will not come again: it stood for the whole queue
                        break;
                    }
                }
            }
        }
    }

    fn deal(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        shared: &Shared,
        stats: &Stats,
        to: &Mailbox,
    ) -> io::Result<()> {
        let most = u64::try_from(shared.settings.max_connections).unwrap_or(u64::MAX);
        if shared.metrics.open.load(Ordering::Relaxed) >= most {
            stats.rejected.add(1);
            shared.events.too_many_connections(peer);
            let _ = stream.write(TOO_MANY); // into an empty buffer, so it does not wait; who is gone does not need it
            return Ok(());
        }
        let socket = SockRef::from(&stream);
        let local = socket.local_addr().ok().and_then(|local| local.as_socket());
        // Both fail only for a peer that is gone, which its loop finds out.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3));
        let client = shared.clients.connect(peer, local.unwrap_or(self.address), stream.as_raw_fd());
        shared.metrics.open.fetch_add(1, Ordering::Relaxed);
        to.send(Message::Connected { stream, client })
    }
}
