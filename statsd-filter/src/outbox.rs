//! Packed datagrams to the target, many at a time, without allocation. A target that is down costs lines and never stops us.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, sendmmsg};
use tracing::{info, warn};

use crate::metrics::{Count, Tally};
use crate::pack::{MOST_DATAGRAMS, Packer};
use crate::shared::Destination;

/// How long an agent that reads slowly is waited for, once a flush. Meanwhile our own receive buffer fills.
const PATIENCE: Duration = Duration::from_millis(100);

pub(crate) struct Outbox {
    headers: MultiHeaders<()>,
    destination: Option<Destination>,
    socket: Option<OwnedFd>,
    /// The last flush met an error. It keeps the log at one line for each beginning and end of an outage.
    is_failing: bool,
}

impl Outbox {
    pub(crate) fn new(destination: Option<Destination>) -> Self {
        let headers = MultiHeaders::preallocate(MOST_DATAGRAMS, None);
        Self { headers, destination, socket: None, is_failing: false }
    }

    pub(crate) fn redirect(&mut self, destination: Option<Destination>) {
        if self.destination != destination {
            (self.destination, self.socket) = (destination, None);
        }
    }

    /// Sends all that is packed, in order, and empties `packer`. Returns whether no error was met.
    pub(crate) fn send(&mut self, packer: &mut Packer, tally: &mut Tally) -> bool {
        let error = self.send_all(packer, tally);
        packer.clear();
        let is_failing = error.is_some();
        match (self.is_failing, error) {
            (false, Some(error)) => warn!(%error, "lines are lost, the target cannot be reached"),
            (true, None) => info!("the target can be reached again"),
            (false, None) | (true, Some(_)) => {}
        }
        self.is_failing = is_failing;
        !is_failing
    }

    fn send_all(&mut self, packer: &Packer, tally: &mut Tally) -> Option<io::Error> {
        let mut last_error = None;
        let (mut next, mut tried_again, mut flags) = (0, None, MsgFlags::MSG_NOSIGNAL);
        while next < packer.len() {
            match self.send_from(next, packer, flags) {
                Ok(sent) => {
                    (next..next + sent).for_each(|index| count_sent(packer, index, tally));
                    next += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tally.add(Count::SendErrors, 1);
                    // Refused was an earlier datagram, or an agent that has begun anew: this one deserves its own try.
                    let is_news_of_another = is_refusal(&error) && tried_again != Some(next);
                    if is_news_of_another {
                        tried_again = Some(next);
                    } else {
                        tally.add(Count::LinesSendFailed, packer.datagram(next).1);
                        next += 1;
                    }
                    if error.kind() == io::ErrorKind::WouldBlock {
                        flags |= MsgFlags::MSG_DONTWAIT;
                    }
                    if matches!(self.destination, Some(Destination::Unix(_))) && is_refusal(&error) {
                        self.socket = None;
                    }
                    last_error = Some(error);
                }
            }
        }
        last_error
    }

    /// Sends datagrams from `first` on and returns how many; an error is that of the first.
    fn send_from(&mut self, first: usize, packer: &Packer, flags: MsgFlags) -> io::Result<usize> {
        let socket = match &self.socket {
            Some(socket) => socket,
            None => self.socket.insert(connect(self.destination.as_ref())?),
        };
        let count = packer.len() - first;
        let slices: [[IoSlice<'_>; 1]; MOST_DATAGRAMS] = std::array::from_fn(|index| {
            let bytes = if index < count { packer.datagram(first + index).0 } else { &[] };
            [IoSlice::new(bytes)]
        });
        let no_addresses: [Option<()>; MOST_DATAGRAMS] = [None; MOST_DATAGRAMS]; // the socket is connected
        let no_control: [ControlMessage<'_>; 0] = [];
        let sent = sendmmsg(
            socket.as_raw_fd(),
            &mut self.headers,
            slices[..count].iter(),
            &no_addresses[..count],
            no_control,
            flags,
        );
        Ok(sent?.count())
    }
}

fn connect(destination: Option<&Destination>) -> io::Result<OwnedFd> {
    match destination {
        None => Err(io::Error::other("the target's name has no address")),
        Some(Destination::Udp(address)) => {
            let any = match address {
                SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
                SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
            };
            let socket = UdpSocket::bind(any)?;
            socket.connect(address)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket.into())
        }
        Some(Destination::Unix(path)) => {
            let socket = UnixDatagram::unbound()?;
            socket.connect(path)?;
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket.into())
        }
    }
}

fn count_sent(packer: &Packer, index: usize, tally: &mut Tally) {
    let (bytes, lines) = packer.datagram(index);
    tally.add(Count::DatagramsSent, 1);
    tally.add(Count::BytesSent, bytes.len() as u64);
    tally.add(Count::LinesForwarded, lines);
}

fn is_refusal(error: &io::Error) -> bool {
    let refusals = [Errno::ECONNREFUSED, Errno::ECONNRESET, Errno::ENOTCONN];
    refusals.iter().any(|errno| error.raw_os_error() == Some(*errno as i32))
}
