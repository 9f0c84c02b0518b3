//! What clients send, at a chosen rate, and what arrives at the other end.

#![expect(clippy::disallowed_types, reason = "a bench measures real time")]

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::forwarder::bind_sink;

pub(super) const FORWARDER_PORT: u16 = 28_125;
pub(super) const SINK_PORT: u16 = 28_126;

const DEADLINE: Duration = Duration::from_secs(60);
/// Every fourth line is unwanted.
const UNWANTED: usize = 4;
/// Different lines, so that nobody's caches hold the answer.
const LINES: usize = 4096;

/// The names that rules drop: `count` of them, of which lines use the last ones, as unluckily for whoever tries one by one as not.
pub(super) fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("service{:02}.unwanted.metric{number:05}.", number % 100)).collect()
}

/// The same for tags.
pub(super) fn tags(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("unwanted{number:05}")).collect()
}

/// One line a datagram, about 75 bytes, with the tags that clients of DogStatsD add by themselves.
pub(super) fn lines(rules: usize) -> Vec<Vec<u8>> {
    let (names, tags) = (names(rules), tags(rules));
    let line = |number: usize| {
        let chosen = (number * 7919) % rules;
        if number.is_multiple_of(UNWANTED) {
            format!("{}count:{}|c|#env:prod,{}:x,host:web-{}", names[chosen], number % 97, tags[chosen], number % 40)
        } else {
            let (service, value) = (number % 100, number % 1013);
            format!(
                "service{service:02}.requests.latency:{value}.5|ms|@0.5|#env:prod,version:1.2,host:web-{}",
                number % 40
            )
        }
    };
    (0..LINES).map(|number| line(number).into_bytes()).collect()
}

/// Lines among `sent` that no rule drops.
pub(super) fn wanted(sent: u64) -> u64 {
    sent - sent.div_ceil(UNWANTED as u64)
}

/// Sends `rate` datagrams a second for `time`, evenly spread, from one thread. Returns how many, and how long it took in fact.
pub(super) fn offer(lines: &[Vec<u8>], rate: f64, time: Duration) -> Result<(u64, Duration)> {
    let socket = client()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few million")]
    let count = (rate * time.as_secs_f64()) as u64;
    let started = Instant::now();
    for (number, line) in (0..count).zip(lines.iter().cycle()) {
        let due = time.mul_f64(as_f64(number) / as_f64(count));
        while started.elapsed() < due {
            thread::yield_now(); // the sink may be on the same core
        }
        socket.send(line).context("failed to send")?;
    }
    Ok((count, started.elapsed()))
}

/// Sends `count` stamped lines, `pause` apart.
pub(super) fn stamp(to: u16, zero: Instant, count: usize, pause: Duration) -> Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("failed to open a socket")?;
    socket.connect(("127.0.0.1", to)).context("failed to connect")?;
    for _ in 0..count {
        let line = format!("stamp:{}|g|#env:prod", zero.elapsed().as_nanos());
        socket.send(line.as_bytes()).context("failed to send")?;
        thread::sleep(pause);
    }
    Ok(())
}

fn client() -> Result<UdpSocket> {
    let socket = UdpSocket::bind("127.0.0.1:0").context("failed to open a socket")?;
    socket.connect(("127.0.0.1", FORWARDER_PORT)).context("failed to connect")?;
    Ok(socket)
}

/// Counts what arrives, in a thread that is joined in the end.
pub(super) struct Sink {
    lines: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Vec<u64>>>,
    pub(super) zero: Instant,
}

impl Sink {
    pub(super) fn open() -> Result<Self> {
        let socket = bind_sink()?;
        socket.set_read_timeout(Some(Duration::from_millis(50))).context("failed to set a deadline")?;
        let (lines, stop, zero) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default(), Instant::now());
        let (counter, is_over) = (lines.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let mut buffer = vec![0; 1 << 16];
            let mut latencies = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut buffer) else { continue };
                let now = u64::try_from(zero.elapsed().as_nanos()).unwrap_or(u64::MAX);
                for line in buffer[..length].split(|byte| *byte == b'\n') {
                    counter.fetch_add(1, Ordering::Relaxed);
                    latencies.extend(stamped(line).map(|sent| now.saturating_sub(sent)));
                }
            }
            latencies
        });
        Ok(Self { lines, stop, thread: Some(thread), zero })
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines.load(Ordering::Relaxed)
    }

    /// Stops, and returns how long each stamped line took, in nanoseconds.
    pub(super) fn close(mut self) -> Vec<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().and_then(|thread| thread.join().ok()).unwrap_or_default()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked_is_shown_already = thread.join();
        }
    }
}

fn stamped(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"stamp:")?.split(|byte| *byte == b'|').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Waits for a condition.
pub(super) fn wait_until(what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + DEADLINE;
    while !is_so()? {
        ensure!(Instant::now() < end, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fourth_line_begins_with_a_name_that_is_dropped() {
        for rules in [10, 10_000] {
            let names = names(rules);
            let is_dropped = |line: &Vec<u8>| names.iter().any(|name| line.starts_with(name.as_bytes()));
            let dropped = lines(rules).iter().step_by(UNWANTED).filter(|line| is_dropped(line)).count();
            assert_eq!(dropped, LINES / UNWANTED);
            assert!(!lines(rules).iter().skip(1).step_by(UNWANTED).any(is_dropped));
        }
    }

    #[test]
    fn wanted_lines_are_all_but_every_fourth() {
        assert_eq!([0, 1, 4, 5, 8].map(wanted), [0, 0, 3, 3, 6]);
    }

    #[test]
    fn stamps_are_read_back() {
        assert_eq!(stamped(b"stamp:123|g|#env:prod"), Some(123));
        assert_eq!(stamped(b"other:1|c"), None);
    }
}
