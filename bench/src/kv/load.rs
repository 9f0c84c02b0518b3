//! Clients that ask for random keys: as fast as they are answered, or at a fixed rate whatever happens.
//!
//! ```text
//! closed:  each connection sends its next batch when the last one was answered     ─► how much a server can
//! open:    batches go out at their times, whatever was answered                    ─► how long a request takes
//! ```
//!
//! At a fixed rate the time of a request counts from when it was due and not from when it could be sent, so that a server that
//! stalls cannot hide the requests that would have come meanwhile (coordinated omission).

#![expect(clippy::disallowed_types, reason = "a bench measures real time")]

use std::collections::VecDeque;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use rustix::thread::set_current_timer_slack;

use super::data::{KEY_BYTES, Random, Version, write_key};
use crate::machine::{cores_of_clients, on};

const REQUEST: &[u8] = b"*2\r\n$3\r\nGET\r\n$16\r\n";
/// All requests are of this length.
pub(crate) const REQUEST_BYTES: usize = REQUEST.len() + KEY_BYTES + 2;
/// For the last replies, once the time is over.
const GRACE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    /// Requests that are sent at a time.
    pub(crate) pipeline: usize,
    /// Keys 0 to this are there.
    pub(crate) keys: u64,
    /// Of 100 requests, those for keys that are not there.
    pub(crate) misses_percent: u64,
    pub(crate) time: Duration,
    pub(crate) threads: usize,
    pub(crate) seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Answers that are errors, or that say of a key that is there that it is not, and the other way round.
    pub(crate) failed: u64,
    /// For each batch when it was answered, since the start, and how long it took; in answered order.
    pub(crate) answers: Vec<Answer>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) at_us: u32,
    pub(crate) took_us: u32,
    /// The mark of the version that the last hit of the batch came from; 0 if there was none.
    pub(crate) version: u8,
}

impl Outcome {
    #[expect(clippy::cast_precision_loss, reason = "2^53 requests are more than any bench sends")]
    pub(crate) fn per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Of the batches answered within `when`, in milliseconds; `share` such as 0.99.
    pub(crate) fn percentile(&self, share: f64, when: impl Fn(&Answer) -> bool) -> f64 {
        let mut took: Vec<u32> =
            self.answers.iter().filter(|answer| when(answer)).map(|answer| answer.took_us).collect();
        took.sort_unstable();
        if took.is_empty() {
            return f64::NAN;
        }
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            clippy::cast_possible_truncation,
            reason = "an index"
        )]
        let index = ((took.len() as f64 * share).ceil() as usize).clamp(1, took.len()) - 1;
        f64::from(took[index]) / 1e3
    }

    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.answers.extend(other.answers);
    }
}

/// Each connection sends the next batch once the last is answered.
pub(crate) fn closed(load: &Load) -> Result<Outcome> {
    run(load, None, &AtomicBool::new(false))
}

/// Batches go out at `rate` requests a second, spread over all connections, until the time is over or `stop` says so.
pub(crate) fn open(load: &Load, rate: f64, stop: &AtomicBool) -> Result<Outcome> {
    run(load, Some(rate), stop)
}

fn run(load: &Load, rate: Option<f64>, stop: &AtomicBool) -> Result<Outcome> {
    ensure!(load.pipeline <= 64, "a batch has at most 64 requests");
    let load = &Load { threads: load.threads.min(load.connections), ..*load };
    let cores = cores_of_clients()?;
    on(&cores, || {
        let clients = (0..load.connections).map(|_| Client::connect(load.address)).collect::<Result<Vec<_>>>()?;
        let mut clients = clients.into_iter();
        let share = load.connections.div_ceil(load.threads);
        let started = Instant::now();
        let mut outcome = Outcome::default();
        thread::scope(|scope| {
            let mut asking = Vec::new();
            for number in 0..load.threads {
                let clients: Vec<_> = clients.by_ref().take(share).collect();
                let pace = rate.map(|rate| Pace::new(load, rate, number, started));
                let session = Session::new(load, clients, started, number as u64, pace);
                asking.push(scope.spawn(move || session.run(stop)));
            }
            for session in asking {
                outcome.add(session.join().expect("a session does not panic")?);
            }
            anyhow::Ok(())
        })?;
        let last = outcome.answers.iter().map(|answer| answer.at_us).max().unwrap_or(1);
        outcome.seconds = f64::from(last) / 1e6;
        Ok(outcome)
    })?
}

/// When batches are due: at even intervals. Behind time they go out without a pause; their times stay what they were.
struct Pace {
    every: Duration,
    due: Instant,
}

impl Pace {
    /// Threads take turns, so that together they keep the rate.
    fn new(load: &Load, rate: f64, thread: usize, started: Instant) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "at most 64 requests in a batch")]
        let between = Duration::from_secs_f64(load.pipeline as f64 / rate);
        let turn = u32::try_from(thread).expect("at most 64 threads");
        let threads = u32::try_from(load.threads).expect("at most 64 threads");
        Self { every: between * threads, due: started + between * turn }
    }
}

/// Makes batches of requests for random keys.
struct Requests {
    random: Random,
    keys: u64,
    misses_percent: u64,
    pipeline: usize,
    bytes: Vec<u8>,
}

impl Requests {
    fn new(load: &Load, number: u64) -> Self {
        let Load { keys, misses_percent, pipeline, seed, .. } = *load;
        let random = Random::new(seed.wrapping_add(number.wrapping_mul(0x1_0001)));
        Self { random, keys, misses_percent, pipeline, bytes: Vec::new() }
    }

    fn send(&mut self, client: &mut Client, due: Instant) -> Result<()> {
        self.bytes.clear();
        let mut hits = 0;
        let mut key = [0; KEY_BYTES];
        for request in 0..self.pipeline {
            let is_miss = self.random.below(100) < self.misses_percent;
            let number = self.random.below(self.keys);
            write_key(if is_miss { number + self.keys } else { number }, &mut key);
            hits |= u64::from(!is_miss) << request;
            self.bytes.extend(REQUEST);
            self.bytes.extend(key);
            self.bytes.extend(b"\r\n");
        }
        client.sent.push_back(Batch { due, hits });
        (&client.stream).write_all(&self.bytes).context("failed to send requests")
    }
}

/// One connection with the batches that are on their way.
struct Client {
    stream: TcpStream,
    sent: VecDeque<Batch>,
    received: Vec<u8>,
    /// Of the first batch: its replies so far, and the mark of its last hit.
    answered: usize,
    version: u8,
}

struct Batch {
    due: Instant,
    /// Bit n: the n-th request is for a key that is there.
    hits: u64,
}

impl Client {
    fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
        stream.set_nodelay(true).context("failed to set up a connection")?;
        stream.set_write_timeout(Some(GRACE)).context("failed to set up a connection")?;
        Ok(Self { stream, sent: VecDeque::new(), received: Vec::with_capacity(64 << 10), answered: 0, version: 0 })
    }
}

/// Some connections and the thread that asks over them.
struct Session<'a> {
    load: &'a Load,
    clients: Vec<Client>,
    requests: Requests,
    started: Instant,
    /// None: the next batch goes out when the last one was answered.
    pace: Option<Pace>,
    outcome: Outcome,
}

impl<'a> Session<'a> {
    fn new(load: &'a Load, clients: Vec<Client>, started: Instant, number: u64, pace: Option<Pace>) -> Self {
        Self { load, clients, requests: Requests::new(load, number), started, pace, outcome: Outcome::default() }
    }

    fn run(mut self, stop: &AtomicBool) -> Result<Outcome> {
        // Else the kernel wakes us up to 50 us late. To ask it again and again instead would keep its own threads, which move
        // our packets, from this core.
        set_current_timer_slack(NonZeroU64::new(1)).context("failed to ask for exact timers")?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).context("failed to create an epoll instance")?;
        for (number, client) in self.clients.iter_mut().enumerate() {
            let data = epoll::EventData::new_u64(number as u64);
            epoll::add(&epoll, &client.stream, data, epoll::EventFlags::IN).context("failed to watch a connection")?;
            if self.pace.is_none() {
                self.requests.send(client, Instant::now())?;
            }
        }
        let mut events = Vec::with_capacity(64);
        let mut turn = 0;
        let mut over_at = None;
        loop {
            let is_over = self.started.elapsed() >= self.load.time || stop.load(Ordering::Relaxed);
            if !is_over {
                self.send_due(&mut turn)?;
            }
            events.clear();
            match epoll::wait(&epoll, spare_capacity(&mut events), Some(&self.patience())) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("failed to wait for replies"),
            }
            for event in &events {
                self.receive(usize::try_from(event.data.u64()).expect("an index"), is_over)?;
            }
            if is_over {
                if self.clients.iter().all(|client| client.sent.is_empty()) {
                    return Ok(self.outcome);
                }
                let since: Instant = *over_at.get_or_insert_with(Instant::now);
                ensure!(since.elapsed() < GRACE, "replies are missing");
            }
        }
    }

    fn send_due(&mut self, turn: &mut usize) -> Result<()> {
        let Some(Pace { every, due }) = &mut self.pace else { return Ok(()) };
        while Instant::now() >= *due {
            self.requests.send(&mut self.clients[*turn], *due)?;
            *turn = (*turn + 1) % self.clients.len();
            *due += *every;
        }
        Ok(())
    }

    /// How long to wait for replies.
    fn patience(&self) -> Timespec {
        let most = Duration::from_millis(20);
        let until_due = |pace: &Pace| pace.due.saturating_duration_since(Instant::now());
        let wait = self.pace.as_ref().map_or(most, |pace| until_due(pace).min(most));
        Timespec { tv_sec: 0, tv_nsec: i64::from(wait.subsec_nanos()) }
    }

    fn receive(&mut self, number: usize, is_over: bool) -> Result<()> {
        let client = &mut self.clients[number];
        client.received.reserve(64 << 10);
        match recv(&client.stream, spare_capacity(&mut client.received), RecvFlags::DONTWAIT) {
            Ok((_, 0)) => bail!("the server closed a connection"),
            Ok(_) => {}
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(error) => return Err(error).context("failed to receive replies"),
        }
        let mut at = 0;
        while let Some((reply, length)) = Reply::parse(&client.received[at..]) {
            at += length;
            let batch = client.sent.front().context("a reply that nobody asked for")?;
            let is_hit = batch.hits >> client.answered & 1 == 1;
            match reply {
                Reply::Value(mark) if is_hit => client.version = mark,
                Reply::Nothing if !is_hit => {}
                _ => self.outcome.failed += 1,
            }
            client.answered += 1;
            self.outcome.requests += 1;
            if client.answered == self.load.pipeline {
                let now = Instant::now();
                let us = |time: Duration| u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
                let (at_us, took_us) = (us(now - self.started), us(now - batch.due));
                self.outcome.answers.push(Answer { at_us, took_us, version: client.version });
                (client.answered, client.version) = (0, 0);
                client.sent.pop_front();
                if self.pace.is_none() && !is_over {
                    self.requests.send(client, now)?;
                }
            }
        }
        client.received.drain(..at);
        Ok(())
    }
}

enum Reply {
    /// With its first byte.
    Value(u8),
    Nothing,
    Error,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        // Nothing but GET is asked: lengths are short.
        let end = bytes.iter().take(256).position(|byte| *byte == b'\n')? + 1;
        let header = bytes.get(1..end - 2)?;
        match bytes[0] {
            b'$' if header.first() == Some(&b'-') => Some((Self::Nothing, end)),
            b'$' => {
                let length = header.iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
                let whole = end + length + 2;
                (bytes.len() >= whole).then(|| (Self::Value(bytes[end]), whole))
            }
            b'_' => Some((Self::Nothing, end)),
            _ => Some((Self::Error, end)),
        }
    }
}

/// Sets all keys, many in flight; for a server that starts empty.
pub(crate) fn fill(address: SocketAddr, keys: u64) -> Result<()> {
    use std::io::Read;
    const BATCH: u64 = 1_000;
    let mut stream = TcpStream::connect(address).with_context(|| format!("failed to connect to {address}"))?;
    let mut reading = stream.try_clone().context("failed to set up a connection")?;
    thread::scope(|scope| {
        let writer = scope.spawn(move || -> Result<()> {
            let mut bytes = Vec::new();
            let (mut key, mut value) = ([0; KEY_BYTES], [0; super::data::VALUE_BYTES]);
            for number in 0..keys {
                write_key(number, &mut key);
                super::data::write_value(number, Version::First, &mut value);
                bytes.extend(b"*3\r\n$3\r\nSET\r\n$16\r\n");
                bytes.extend(key);
                bytes.extend(b"\r\n$200\r\n");
                bytes.extend(value);
                bytes.extend(b"\r\n");
                if (number + 1) % BATCH == 0 || number + 1 == keys {
                    stream.write_all(&bytes).context("failed to send keys")?;
                    bytes.clear();
                }
            }
            Ok(())
        });
        let mut buffer = vec![0; 64 << 10];
        let mut missing = keys * 5; // "+OK\r\n" each
        while missing > 0 {
            let count = reading.read(&mut buffer).context("failed to receive replies")?;
            ensure!(count > 0, "the server closed the connection while it was filled");
            ensure!(
                !buffer[..count].contains(&b'-'),
                "a key was refused: {}",
                String::from_utf8_lossy(&buffer[..count.min(80)])
            );
            missing = missing.saturating_sub(count as u64);
        }
        writer.join().expect("the writer does not panic")
    })
}
