//! Many replicas, one Lease, and a network that loses, delays and repeats: at no moment do two of them act.

use std::time::Duration;

use super::election::{Election, Seen, Step, Times};

const TERM: Duration = Duration::from_secs(30);

/// A small generator of our own: a failure names its seed, and the seed replays it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) % sides
    }
}

/// The API server's side: compare-and-swap on a version.
#[derive(Default)]
struct Server {
    lease: Option<Seen>,
    writes: u64,
}

impl Server {
    fn create(&mut self, holder: &str) -> Option<Seen> {
        if self.lease.is_some() {
            return None;
        }
        Some(self.put(holder, 1))
    }

    fn write(&mut self, holder: &str, version: &str, transitions: i32) -> Option<Seen> {
        if self.lease.as_ref()?.version != version {
            return None;
        }
        Some(self.put(holder, transitions))
    }

    fn put(&mut self, holder: &str, transitions: i32) -> Seen {
        self.writes += 1;
        let lease = Seen { holder: holder.to_owned(), version: self.writes.to_string(), transitions };
        self.lease = Some(lease.clone());
        lease
    }
}

struct Replica {
    name: String,
    election: Election,
    /// Its clock: an offset, and a rate in thousandths that is a little off.
    offset: u64,
    rate: u64,
    /// Until then (true time) it does not run: swapped out, suspended.
    asleep_until: u64,
    /// It found that it may not act any more, and is started anew then.
    restart_at: Option<u64>,
    flight: Option<Flight>,
    answer: Option<Answer>,
}

/// A write that is on its way.
struct Flight {
    /// By the clock of who sent it.
    sent: Duration,
    /// A process that died since may have sent it, under its own name.
    holder: String,
    step: Step,
    /// True time at which the server has it, and at which the answer is back, if it is not lost.
    delivered: u64,
    back: u64,
    lost: bool,
}

struct Answer {
    back: u64,
    sent: Duration,
    lease: Option<Seen>,
}

impl Replica {
    fn new(index: usize, dice: &mut Dice) -> Self {
        let name = format!("replica-{index}");
        Self {
            election: Election::new(name.clone(), Times::of(TERM)),
            name,
            offset: dice.roll(10_000_000),
            rate: 970 + dice.roll(61),
            asleep_until: 0,
            restart_at: None,
            flight: None,
            answer: None,
        }
    }

    fn clock(&self, true_ms: u64) -> Duration {
        Duration::from_millis(self.offset + true_ms * self.rate / 1000)
    }
}

/// Ten minutes of three replicas, in steps of 100 ms. Returns how many of the steps had somebody who led.
fn run(seed: u64) -> usize {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut server = Server::default();
    let mut replicas: Vec<Replica> = (0..3).map(|index| Replica::new(index, &mut dice)).collect();
    let mut led = 0;
    for tick in 0..6000_u64 {
        let now = tick * 100;
        for replica in &mut replicas {
            live(replica, now, &mut server, &mut dice);
        }
        // A sleeper acts the moment it wakes, before it looks at its clock; that moment counts as well.
        let leaders: Vec<&str> = replicas
            .iter()
            .filter(|replica| replica.restart_at.is_none() && replica.election.leads(replica.clock(now)))
            .map(|replica| replica.name.as_str())
            .collect();
        assert!(leaders.len() <= 1, "seed {seed}: at {now} ms {leaders:?} lead at a time");
        led += leaders.len();
    }
    led
}

fn live(replica: &mut Replica, now: u64, server: &mut Server, dice: &mut Dice) {
    deliver(replica, now, server);
    if now < replica.asleep_until {
        return;
    }
    if dice.roll(2000) == 0 {
        replica.asleep_until = now + dice.roll(60_000);
        return;
    }
    if let Some(at) = replica.restart_at {
        if now >= at {
            replica.restart_at = None;
            replica.election = Election::new(replica.name.clone(), Times::of(TERM));
        }
        return;
    }
    let clock = replica.clock(now);
    if let Some(answer) = replica.answer.take_if(|answer| now >= answer.back) {
        match answer.lease {
            Some(lease) => replica.election.wrote(answer.sent, lease),
            None => replica.election.saw(clock, server.lease.clone()),
        }
    }
    // Who waits watches; who leads learns from its own writes alone.
    if !replica.election.leads(clock) && dice.roll(5) == 0 {
        replica.election.saw(clock, server.lease.clone());
    }
    match replica.election.step(clock) {
        Step::Wait { .. } => {}
        Step::Lost => {
            // A new process has a new name.
            replica.name = format!("{}-{now}", replica.name.split('@').next().unwrap_or_default());
            replica.restart_at = Some(now + 1000 + dice.roll(5000));
            replica.answer = None;
        }
        step @ (Step::Create | Step::Write { .. }) => {
            if replica.flight.is_none() && replica.answer.is_none() {
                let delivered = now + delay(dice);
                let (back, lost) = (delivered + delay(dice), dice.roll(10) == 0);
                replica.flight =
                    Some(Flight { sent: clock, holder: replica.name.clone(), step, delivered, back, lost });
            }
        }
    }
}

/// Mostly short, at times long enough to be overtaken by everything.
fn delay(dice: &mut Dice) -> u64 {
    let most = if dice.roll(10) == 0 { 25_000 } else { 300 };
    dice.roll(most)
}

/// What the network carries to the server; also of a process that has died since.
fn deliver(replica: &mut Replica, now: u64, server: &mut Server) {
    let Some(flight) = replica.flight.take_if(|flight| now >= flight.delivered) else { return };
    let lease = match &flight.step {
        Step::Create => server.create(&flight.holder),
        Step::Write { version, transitions } => server.write(&flight.holder, version, *transitions),
        Step::Wait { .. } | Step::Lost => None,
    };
    if !flight.lost && flight.holder == replica.name {
        replica.answer = Some(Answer { back: flight.back, sent: flight.sent, lease });
    }
}

#[test]
fn at_no_moment_do_two_replicas_lead() {
    let led: usize = (1..=400).map(run).sum();
    // And mostly somebody does: half of all steps at the very least, though replicas sleep for up to a minute.
    assert!(led > 400 * 6000 / 2, "somebody led in {led} of {} steps", 400 * 6000);
}
