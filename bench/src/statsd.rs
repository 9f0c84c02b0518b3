//! What a metric costs on its way through `statsd-filter`, beside a minimal Node.js filter and the proxy `statsdproxy`.
//!
//! Each forwarder has one core for itself, sender and sink share another. They take turns in one run; medians of the rounds count.
//! One line a datagram, every fourth unwanted. `statsdproxy` has no rules over names: it gets as many over tags, takes a tag out of
//! every fourth line and forwards all. A datagram is lost when the forwarder's own socket had no room for it, as the kernel counts.

mod forwarder;
mod load;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use self::forwarder::{Forwarder, Kind, Programs, Rules, bind_sink, on_core, socket};
use self::load::{FORWARDER_PORT, SINK_PORT, Sink, lines, names, offer, stamp, tags, wait_until, wanted};
use crate::machine;
use crate::report::{Better, Report, Row, median};

/// For CPU time: what one busy host sends. A peer that cannot keep up is charged for what it did not lose.
const STEADY_RATE: f64 = 100_000.0;
const STEADY_TIME: Duration = Duration::from_secs(2);
/// For speed: from rate to rate until something is lost.
const FIRST_RATE: f64 = 1_000.0;
const RATE_STEP: f64 = 1.4;
const RATE_TIME: Duration = Duration::from_millis(500);
/// One sender gives no more than this; nor is it asked to.
const LAST_RATE: f64 = 1_000_000.0;
const STAMPS: usize = 2_000;
const STAMP_PAUSE: Duration = Duration::from_micros(700);
/// The proxy holds lines for a second.
const LAST_STAMP: Duration = Duration::from_millis(1_200);
const FEW: usize = 10;
const MANY: usize = 10_000;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each side works; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The filter to measure [default: built with the profile `sidecar`]
    #[arg(long, value_name = "PROGRAM")]
    filter: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    for fact in machine::facts() {
        println!("{fact}");
    }
    let programs = Programs::find(args.filter.as_deref())?;
    println!("one core for each; {}", programs.versions);
    let folder = tempfile::tempdir().context("failed to create a folder for rules")?;
    let rules = [FEW, MANY].map(|count| Rules::write(folder.path(), &names(count), &tags(count)));
    let [few, many] = rules;
    let bench = Bench { programs, few: few?, many: many? };

    let mut rounds = Vec::new();
    for round in 1..=args.rounds {
        println!("round {round} of {}", args.rounds);
        rounds.push(on_core(0, || bench.round())?);
    }
    let report = Report(rows(&rounds));
    println!("\n{report}");
    println!("written to {}", report.save("statsd")?.display());
    Ok(())
}

struct Bench {
    programs: Programs,
    few: Rules,
    many: Rules,
}

/// What one forwarder came to in one round.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    cpu_few: f64,
    cpu_many: f64,
    /// Resident with `MANY` rules, after the load.
    megabytes: f64,
    rate_few: f64,
    rate_many: f64,
    /// At which something was lost first, with few rules; `None` up to what the sender can.
    losing_rate: Option<f64>,
    /// Added to what the way takes without a forwarder, in microseconds.
    p50: f64,
    p99: f64,
}

struct Round {
    turns: [Turn; 3],
    /// What ours lost at the rate at which Node began to lose.
    lost_where_node_loses: f64,
}

impl Bench {
    fn round(&self) -> Result<Round> {
        let mut turns = [Turn::default(); 3];
        let (direct_p50, direct_p99) = latency(SINK_PORT)?;
        for (turn, kind) in turns.iter_mut().zip(Kind::ALL) {
            (turn.cpu_few, _) = self.steady(kind, &self.few, FEW)?;
            (turn.cpu_many, turn.megabytes) = self.steady(kind, &self.many, MANY)?;
            (turn.rate_few, turn.losing_rate) = self.ladder(kind, &self.few, FEW)?;
            (turn.rate_many, _) = self.ladder(kind, &self.many, MANY)?;
            let _forwarder = self.programs.start(kind, &self.few)?;
            let (p50, p99) = latency(FORWARDER_PORT)?;
            (turn.p50, turn.p99) = (p50 - direct_p50, p99 - direct_p99);
            println!("  {}: {turn:.2?}", kind.name());
        }
        let lost_where_node_loses = match turns[1].losing_rate {
            None => 0.0,
            Some(rate) => {
                let _unread_sink = bind_sink()?;
                let forwarder = self.programs.start(Kind::Ours, &self.few)?;
                as_f64(offered(&forwarder, &lines(FEW), rate, Duration::from_secs(2))?.lost)
            }
        };
        Ok(Round { turns, lost_where_node_loses })
    }

    /// CPU seconds per million lines, and megabytes afterwards.
    fn steady(&self, kind: Kind, rules: &Rules, count: usize) -> Result<(f64, f64)> {
        let sink = Sink::open()?;
        let forwarder = self.programs.start(kind, rules)?;
        let lines = lines(count);
        let warm = offered(&forwarder, &lines, STEADY_RATE, STEADY_TIME / 4)?; // Node compiles what runs often
        let cpu_before = forwarder.cpu_seconds()?;
        let Offered { sent, lost, .. } = offered(&forwarder, &lines, STEADY_RATE, STEADY_TIME)?;
        let cpu = forwarder.cpu_seconds()? - cpu_before;
        if kind == Kind::Ours && lost + warm.lost == 0 {
            let expected = wanted(warm.sent) + wanted(sent);
            wait_until("every wanted line arrives", || Ok(sink.lines() >= expected))?;
            ensure!(sink.lines() == expected, "more lines arrived than were sent");
        }
        ensure!(sent > lost, "{} lost everything", kind.name());
        Ok((cpu / as_f64(sent - lost) * 1e6, forwarder.resident_megabytes()?))
    }

    /// The highest rate without loss, and the first with.
    fn ladder(&self, kind: Kind, rules: &Rules, count: usize) -> Result<(f64, Option<f64>)> {
        let _unread_sink = bind_sink()?; // reading would take time from the sender
        let forwarder = self.programs.start(kind, rules)?;
        let lines = lines(count);
        offered(&forwarder, &lines, FIRST_RATE, RATE_TIME)?;
        let (mut best, mut rate) = (0.0, FIRST_RATE);
        while rate < LAST_RATE {
            let Offered { lost, rate: in_fact, .. } = offered(&forwarder, &lines, rate, RATE_TIME)?;
            if lost > 0 {
                return Ok((best, Some(in_fact)));
            }
            best = in_fact;
            if in_fact < 0.9 * rate {
                break; // the sender gives no more
            }
            rate *= RATE_STEP;
        }
        Ok((best, None))
    }
}

struct Offered {
    sent: u64,
    lost: u64,
    rate: f64,
}

/// Sends, and waits until the forwarder has read what it did not lose.
fn offered(_running: &Forwarder, lines: &[Vec<u8>], rate: f64, time: Duration) -> Result<Offered> {
    let look = || socket(FORWARDER_PORT)?.context("the forwarder has gone");
    let before = look()?;
    let (sent, took) = offer(lines, rate, time)?;
    wait_until("everything is read", || Ok(look()?.queued == 0))?;
    Ok(Offered { sent, lost: look()?.drops - before.drops, rate: as_f64(sent) / took.as_secs_f64() })
}

/// Median and 99th percentile in microseconds of a line on its way to the sink through `port`.
fn latency(port: u16) -> Result<(f64, f64)> {
    let sink = Sink::open()?;
    stamp(port, sink.zero, STAMPS, STAMP_PAUSE)?;
    std::thread::sleep(LAST_STAMP);
    stamp(port, sink.zero, 1, Duration::ZERO)?; // who holds lines sends them when the next one comes
    wait_until("stamped lines arrive", || Ok(sink.lines() >= STAMPS as u64))?;
    let mut latencies = sink.close();
    latencies.truncate(STAMPS);
    latencies.sort_unstable();
    let at = |percent: usize| as_f64(latencies[(latencies.len() - 1) * percent / 100]) / 1e3;
    Ok((at(50), at(99)))
}

fn rows(rounds: &[Round]) -> Vec<Row> {
    let of = |kind: Kind, value: &dyn Fn(&Turn) -> f64| {
        let values: Vec<f64> = rounds.iter().map(|round| value(&round.turns[kind as usize])).collect();
        median(&values)
    };
    let compare = |what: &str, unit: &str, peer: Kind, value: &dyn Fn(&Turn) -> f64, better| {
        let what = format!("{what}, against {}", peer.name());
        Row::against_peer(&what, unit, of(Kind::Ours, value), of(peer, value), better)
    };
    let (node, proxy) = (Kind::Node, Kind::Statsdproxy);
    let (cpu_few, cpu_many) = (|turn: &Turn| turn.cpu_few, |turn: &Turn| turn.cpu_many);
    let (rate_few, rate_many) = (|turn: &Turn| turn.rate_few, |turn: &Turn| turn.rate_many);
    let megabytes = |turn: &Turn| turn.megabytes;
    let lost: Vec<f64> = rounds.iter().map(|round| round.lost_where_node_loses).collect();
    vec![
        compare("10 prefixes: CPU", "s/million", node, &cpu_few, Better::Less).with_ratio_at_least(3.0),
        compare("10 prefixes: CPU", "s/million", proxy, &cpu_few, Better::Less).with_ratio_at_least(1.0),
        compare("10,000 prefixes: CPU", "s/million", node, &cpu_many, Better::Less),
        compare("10,000 prefixes: CPU", "s/million", proxy, &cpu_many, Better::Less).with_ratio_at_least(20.0),
        compare("10 prefixes: without loss", "datagrams/s", node, &rate_few, Better::More),
        compare("10 prefixes: without loss", "datagrams/s", proxy, &rate_few, Better::More),
        compare("10,000 prefixes: without loss", "datagrams/s", node, &rate_many, Better::More),
        compare("10,000 prefixes: without loss", "datagrams/s", proxy, &rate_many, Better::More),
        Row::of_ours("lost where Node begins to lose", "datagrams", median(&lost)).with_ours_below(1.0),
        compare("10,000 prefixes: resident", "MB", node, &megabytes, Better::Less).with_ours_below(5.0),
        compare("10,000 prefixes: resident", "MB", proxy, &megabytes, Better::Less),
        compare("added latency, p50", "us", node, &|turn| turn.p50, Better::Less),
        compare("added latency, p99", "us", node, &|turn| turn.p99, Better::Less),
        compare("added latency, p50", "us", proxy, &|turn| turn.p50, Better::Less),
        compare("added latency, p99", "us", proxy, &|turn| turn.p99, Better::Less),
    ]
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn as_f64(count: u64) -> f64 {
    count as f64
}
