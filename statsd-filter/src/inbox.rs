//! Datagrams from one socket, many at a time, without allocation.

#![expect(clippy::disallowed_types, reason = "there is no async runtime here whose clock could be used")]

use std::io::IoSliceMut;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, recvmmsg, recvmsg};

use crate::filter::Received;

/// Datagrams a call. More save nothing: the call itself is a twentieth of what 32 datagrams cost the kernel.
pub(crate) const BATCH: usize = 32;
/// Room for the largest UDP datagram. 32 of these are 2 MiB, of which only pages that were written to are resident: a small
/// datagram touches one.
const SLOT_BYTES: usize = 1 << 16;
/// How often to ask for the kernel's count of drops.
const DROPS_INTERVAL: Duration = Duration::from_millis(20);

pub(crate) struct Inbox {
    headers: MultiHeaders<()>,
    buffer: Vec<u8>,
    /// Room for one control message with the kernel's count.
    control: Vec<u8>,
    next_count: Instant,
    /// The kernel's count as seen last. It begins at 0 with the socket and wraps.
    seen_drops: u32,
    /// Datagrams that the kernel dropped, as far as it has told.
    pub(crate) kernel_drops: u64,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            headers: MultiHeaders::preallocate(BATCH, None),
            buffer: vec![0; BATCH * SLOT_BYTES],
            control: nix::cmsg_space!(u32),
            next_count: Instant::now(),
            seen_drops: 0,
            kernel_drops: 0,
        }
    }

    /// Hands at most `BATCH` datagrams that have arrived to `each`, and returns whether there may be more.
    pub(crate) fn receive(
        &mut self,
        socket: &impl AsRawFd,
        now: Instant,
        mut each: impl FnMut(Received<'_>),
    ) -> Result<bool, Errno> {
        // The count travels with a datagram. nix forgets to make room for control messages again before the second call of
        // recvmmsg, so now and then one datagram is received by itself.
        if now >= self.next_count {
            self.next_count = now + DROPS_INTERVAL;
            return self.receive_one(socket, each);
        }
        let mut slots = self.buffer.chunks_exact_mut(SLOT_BYTES);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(slots.next().expect("there is a slot for each"))]);
        let flags = MsgFlags::MSG_DONTWAIT;
        let received = match recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), flags, None) {
            Ok(received) => received,
            Err(errno) => return nothing_yet(errno),
        };
        let mut count = 0;
        for message in received {
            let bytes = message.iovs().next().unwrap_or_default();
            each(Received { bytes, cut_off: message.flags.contains(MsgFlags::MSG_TRUNC) });
            count += 1;
        }
        Ok(count == BATCH)
    }

    fn receive_one(&mut self, socket: &impl AsRawFd, mut each: impl FnMut(Received<'_>)) -> Result<bool, Errno> {
        let mut slices = [IoSliceMut::new(&mut self.buffer[..SLOT_BYTES])];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut slices, Some(&mut self.control), flags) {
            Ok(message) => message,
            Err(errno) => return nothing_yet(errno),
        };
        for control in message.cmsgs()? {
            if let ControlMessageOwned::RxqOvfl(drops) = control {
                self.kernel_drops += u64::from(drops.wrapping_sub(self.seen_drops));
                self.seen_drops = drops;
            }
        }
        let bytes = message.iovs().next().unwrap_or_default();
        each(Received { bytes, cut_off: message.flags.contains(MsgFlags::MSG_TRUNC) });
        Ok(true)
    }
}

fn nothing_yet(errno: Errno) -> Result<bool, Errno> {
    match errno {
        Errno::EAGAIN => Ok(false),
        Errno::EINTR => Ok(true),
        errno => Err(errno),
    }
}
