//! A server that looks nothing up: what it takes to be answered by it is the machine's own doing, and the client's.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::data::VALUE_BYTES;
use super::load::REQUEST_BYTES;
use crate::machine::{cores_of_servers, on};

/// The listener among what epoll names.
const LISTENER: u64 = u64::MAX;
/// How often it looks whether it should stop.
const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// One thread that answers every request with the same value, on the cores of servers.
pub(crate) struct Floor {
    pub(crate) address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of a request that is not whole yet.
    begun: usize,
}

impl Floor {
    pub(crate) fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to listen")?;
        let address = listener.local_addr().context("failed to listen")?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let spawned = on(&cores_of_servers()?, || {
            thread::Builder::new().name("floor".to_owned()).spawn(move || answer(&listener, &told))
        })?;
        Ok(Self { address, stop, thread: spawned.context("failed to start a thread")? })
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the answering thread panicked"))?
    }
}

fn answer(listener: &TcpListener, stop: &AtomicBool) -> Result<()> {
    let value = [format!("${VALUE_BYTES}\r\n").as_bytes(), &[b'a'; VALUE_BYTES], b"\r\n"].concat();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("failed to create an epoll instance")?;
    let watch = |what: &dyn std::os::fd::AsFd, number| {
        epoll::add(&epoll, what.as_fd(), epoll::EventData::new_u64(number), epoll::EventFlags::IN)
            .context("failed to watch a connection")
    };
    watch(listener, LISTENER)?;
    let (mut connections, mut last) = (BTreeMap::new(), 0);
    let mut events = Vec::with_capacity(64);
    let mut received = Vec::with_capacity(64 << 10);
    while !stop.load(Ordering::Relaxed) {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), Some(&LOOK_EVERY)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("failed to wait for requests"),
        }
        for event in &events {
            let number = event.data.u64();
            if number == LISTENER {
                let (stream, _) = listener.accept().context("failed to accept a connection")?;
                stream.set_nodelay(true).context("failed to set up a connection")?;
                last += 1;
                watch(&stream, last)?;
                connections.insert(last, Connection { stream, begun: 0 });
                continue;
            }
            let Some(connection) = connections.get_mut(&number) else { continue };
            received.clear();
            match recv(&connection.stream, spare_capacity(&mut received), RecvFlags::DONTWAIT) {
                Ok((_, 0)) | Err(Errno::CONNRESET) => drop(connections.remove(&number)),
                Ok(_) => {
                    connection.begun += received.len();
                    let answers = value.repeat(connection.begun / REQUEST_BYTES);
                    connection.begun %= REQUEST_BYTES;
                    (&connection.stream).write_all(&answers).context("failed to answer")?;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error).context("failed to receive requests"),
            }
        }
    }
    Ok(())
}
