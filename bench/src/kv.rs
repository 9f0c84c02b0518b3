//! The key-value server beside Debian's `redis-server`, which holds the same data, on the same machine in one run.
//!
//! Both are up at once and take turns, so that a machine that gets slower hits them alike; medians of the rounds count. The client is
//! our own for both (`load.rs`). Servers have the first half of the cores and the client the other, so that a request that is
//! timed does not wait for the client's own turn; CPU time is the server's alone.

mod data;
mod floor;
mod load;
mod processes;

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use data::{KEY_BYTES, VALUE_BYTES, Version};
use floor::Floor;
use load::{Load, Outcome};
use processes::Server;

use crate::machine;
use crate::measure::{ended_children, timed};
use crate::report::{Better, Report, Row, median};

const SEED: u64 = 20_240_229;
/// To write or load a snapshot of all keys.
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(600);
/// For a new version to be fetched, verified and served while the machine is busy with requests.
const SWITCH_DEADLINE: Duration = Duration::from_secs(600);
/// After the switch, until the last look.
const SETTLING: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Keys that both sides hold
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    keys: u64,
    /// Seconds of each turn
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How often each side takes its turn; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections at a time
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Threads of the client
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    client_threads: u64,
    /// Keep the data here and use it again, instead of a folder that goes at the end
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    for fact in machine::facts() {
        println!("{fact}");
    }
    let kv_server = processes::program("kv-server")?;
    println!(
        "{} of {} cores for the servers, the others for their client; {}; {}",
        machine::cores_of_servers()?.count(),
        machine::cores()?,
        machine::version_of(&kv_server)?,
        machine::version_of("redis-server")?
    );
    let temporary = match args.folder {
        Some(_) => None,
        None => Some(tempfile::tempdir_in(cache()?).context("failed to create a folder for the data")?),
    };
    let folder = match (&args.folder, &temporary) {
        (Some(folder), _) => folder.clone(),
        (None, Some(folder)) => folder.path().to_owned(),
        (None, None) => unreachable!("one or the other"),
    };
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let folder = fs::canonicalize(&folder).with_context(|| format!("failed to find {}", folder.display()))?;
    let bench = Bench { args, folder, kv_server, dragnet: processes::program("dragnet")? };
    let report = Report(bench.all()?);
    println!("\n{report}");
    println!("written to {}", report.save("kv")?.display());
    Ok(())
}

struct Bench<'a> {
    args: &'a Args,
    folder: PathBuf,
    kv_server: PathBuf,
    dragnet: PathBuf,
}

/// Rounds of one side under one kind of load.
#[derive(Default)]
struct Turns {
    per_second: Vec<f64>,
    cpu_per_million: Vec<f64>,
}

/// The shares of requests whose longest time is told.
const SHARES: [(f64, &str); 3] = [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")];

/// Milliseconds of one side at a fixed rate, by `SHARES` and rounds.
struct Latencies([Vec<f64>; 3]);

impl Latencies {
    fn p99(&self) -> f64 {
        median(&self.0[1])
    }
}

/// Ours, the first, against redis, the second.
fn latencies(kind: &str, took: &[Latencies], p99_below: Option<f64>) -> Vec<Row> {
    let row = |(index, (_share, name)): (usize, &(f64, &str))| {
        let [own, peer] = [0, 1].map(|side: usize| median(&took[side].0[index]));
        let row = Row::against_peer(&format!("{kind}: {name}"), "ms", own, peer, Better::Less);
        match p99_below {
            Some(most) if *name == "p99" => row.with_ours_below(most),
            Some(_) | None => row,
        }
    };
    SHARES.iter().enumerate().map(row).collect()
}

impl Bench<'_> {
    fn all(&self) -> Result<Vec<Row>> {
        let mut rows = vec![self.build(Version::First)?];
        self.fill_redis()?;
        // The first start fetches and verifies; the second one is what a restart costs.
        Server::ours(&self.kv_server, &self.url(), &self.folder)?.stop()?;
        let opened = self.opening()?;
        rows.push(opened);

        let ours = Server::ours(&self.kv_server, &self.url(), &self.folder)?;
        let redis = Server::redis(&self.redis_folder())?;
        for pipeline in [1, 16] {
            rows.extend(self.saturation(&ours, &redis, pipeline)?);
        }
        let (own, peer) = (ours.memory()?, redis.memory()?);
        println!("memory: ours {own:?}, redis {peer:?}");
        let memory =
            Row::against_peer("resident memory, page cache apart", "MiB", own.anonymous, peer.anonymous, Better::Less);
        rows.push(memory.with_ratio_at_least(5.0));
        rows.push(Row::against_peer("resident pages of files", "MiB", own.files, peer.files, Better::Less));
        redis.stop()?;
        rows.extend(self.switching(&ours)?);
        ours.stop()?;
        Ok(rows)
    }

    fn url(&self) -> String {
        format!("file://{}", self.folder.join("facts").display())
    }

    fn redis_folder(&self) -> PathBuf {
        self.folder.join("redis")
    }

    /// Builds and announces a version of the dataset.
    fn build(&self, version: Version) -> Result<Row> {
        let source = self.folder.join(format!("{version:?}.csv"));
        data::write_csv(&source, self.args.keys, version)?;
        fs::create_dir_all(self.folder.join("facts")).context("failed to create the dataset's folder")?;
        let source_text = source.to_str().context("the folder's path is not UTF-8")?;
        let before = ended_children()?;
        let ((), time) = timed(|| {
            let arguments =
                ["dataset", "build", "--from", source_text, "--key", "key", "--value", "value", "--shards", "1"];
            run_program(Command::new(&self.dragnet).args(arguments).args(["--to", &self.url()]))
        })?;
        let cpu = ended_children()? - before;
        fs::remove_file(&source).with_context(|| format!("failed to remove {}", source.display()))?;
        let megabytes = as_f64(self.args.keys * (KEY_BYTES + VALUE_BYTES) as u64) / 1e6;
        println!("dataset build: {megabytes:.0} MB in {:.1} s, {:.1} s of CPU", time.as_secs_f64(), cpu.seconds());
        Ok(Row::of_ours("dataset build", "MB/s per core", megabytes / cpu.seconds()).with_ours_at_least(50.0))
    }

    /// A snapshot that redis starts from, with the same data.
    fn fill_redis(&self) -> Result<()> {
        let folder = self.redis_folder();
        if folder.join("dump.rdb").is_file() {
            return Ok(()); // of an earlier run in this folder
        }
        fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
        let redis = Server::empty_redis(&folder)?;
        let ((), time) = timed(|| load::fill(redis.address, self.args.keys))?;
        let saved = processes::ask(redis.address, "SAVE", SNAPSHOT_DEADLINE)?;
        ensure!(saved == "+OK", "redis did not save its snapshot: {saved}");
        println!("redis: filled in {:.1} s", time.as_secs_f64());
        redis.stop()
    }

    fn opening(&self) -> Result<Row> {
        let (mut ours, mut redis) = (Vec::new(), Vec::new());
        for _ in 0..self.args.rounds {
            for (side, times) in [(true, &mut ours), (false, &mut redis)] {
                let server = self.start(side)?;
                times.push(server.opened_in.as_secs_f64());
                server.stop()?;
            }
        }
        println!("time to open: ours {ours:.3?} s, redis {redis:.3?} s");
        let row =
            Row::against_peer("time to open a verified version", "s", median(&ours), median(&redis), Better::Less);
        Ok(row.with_ours_below(3.0))
    }

    fn start(&self, is_ours: bool) -> Result<Server> {
        if is_ours {
            Server::ours(&self.kv_server, &self.url(), &self.folder)
        } else {
            Server::redis(&self.redis_folder())
        }
    }

    fn load(&self, address: SocketAddr, pipeline: usize, misses_percent: u64, seed: u64) -> Load {
        Load {
            address,
            connections: self.args.connections,
            pipeline,
            keys: self.args.keys,
            misses_percent,
            time: Duration::from_secs(self.args.seconds),
            threads: usize::try_from(self.args.client_threads).expect("at most 64"),
            seed: SEED ^ seed,
        }
    }

    /// As many requests as each can, then fixed rates.
    fn saturation(&self, ours: &Server, redis: &Server, pipeline: usize) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut half_of = [0.0; 2];
        for misses in [0, 50] {
            let kind = if misses == 0 { "hits" } else { "half misses" };
            let sides = [ours, redis];
            let mut turns = [Turns::default(), Turns::default()];
            for round in 0..=u64::from(self.args.rounds) {
                for (server, turns) in sides.iter().zip(&mut turns) {
                    let load = self.load(server.address, pipeline, misses, round);
                    let before = server.cpu()?;
                    let outcome = load::closed(&load)?;
                    let cpu = server.cpu()? - before;
                    ensure!(outcome.failed == 0, "{} of {} answers were wrong", outcome.failed, outcome.requests);
                    // The first turn brings everything into the caches.
                    if round > 0 {
                        turns.per_second.push(outcome.per_second());
                        turns.cpu_per_million.push(cpu.seconds() / as_f64(outcome.requests) * 1e6);
                    }
                }
            }
            let [own, peer] = turns;
            println!("P={pipeline}, {kind}: ours {:.0?}/s, redis {:.0?}/s", own.per_second, peer.per_second);
            let (own_rate, peer_rate) = (median(&own.per_second), median(&peer.per_second));
            rows.push(Row::against_peer(
                &format!("P={pipeline}, {kind}: requests"),
                "1/s",
                own_rate,
                peer_rate,
                Better::More,
            ));
            let cpu = Row::against_peer(
                &format!("P={pipeline}, {kind}: CPU time of the server"),
                "s per million",
                median(&own.cpu_per_million),
                median(&peer.cpu_per_million),
                Better::Less,
            );
            let most = if pipeline == 1 { 1.1 } else { 2.0 };
            rows.push(if misses == 0 { cpu.with_ratio_at_least(1.0 / most) } else { cpu });
            if misses == 0 {
                half_of = [own_rate / 2.0, peer_rate / 2.0];
            }
        }
        rows.extend(self.fixed_rates(ours, redis, pipeline, half_of)?);
        Ok(rows)
    }

    /// Each at half of what it can, and a server that looks nothing up at the rate of ours; then both at the same rate: half of what
    /// redis can. At last each at half of what it can once more, with nothing else of the machine in the way.
    fn fixed_rates(&self, ours: &Server, redis: &Server, pipeline: usize, half_of: [f64; 2]) -> Result<Vec<Row>> {
        let floor = Floor::start()?;
        let sides = [ours.address, redis.address, floor.address];
        let kind = |kind: &str| format!("P={pipeline}, {kind}");
        let mut rows = Vec::new();

        let own = [half_of[0], half_of[1], half_of[0]];
        let took = self.at_rates(&sides, pipeline, own)?;
        rows.extend(latencies(&kind("at half of its own most"), &took, Some(1.0)));
        let same = [half_of[1]; 2];
        rows.extend(latencies(&kind("at half of redis's most"), &self.at_rates(&sides[..2], pipeline, same)?, None));
        let what = kind("at half of our most: p99 of a server that looks nothing up");
        rows.push(Row::of_ours(&what, "ms", took[2].p99()));

        let all = [ours.id(), redis.id(), std::process::id()];
        match machine::before_all_others(&all, || self.at_rates(&sides, pipeline, own))?.transpose()? {
            Some(took) => {
                rows.extend(latencies(&kind("the same before all other programs"), &took, Some(1.0)));
                let what = kind("the same before all other programs: p99 of a server that looks nothing up");
                rows.push(Row::of_ours(&what, "ms", took[2].p99()));
            }
            None => println!("P={pipeline}: not measured before all other programs, which takes root"),
        }
        println!("P={pipeline}, at half of their most: at {:.0}/s and {:.0}/s", half_of[0], half_of[1]);
        floor.stop()?;
        Ok(rows)
    }

    /// All sides in turns, each at its rate.
    fn at_rates<const N: usize>(
        &self,
        sides: &[SocketAddr],
        pipeline: usize,
        rates: [f64; N],
    ) -> Result<[Latencies; N]> {
        let mut took = [const { Latencies([const { Vec::new() }; 3]) }; N];
        for round in 0..u64::from(self.args.rounds) {
            for ((address, rate), took) in sides.iter().zip(rates).zip(&mut took) {
                let load = self.load(*address, pipeline, 0, 100 + round);
                let outcome = load::open(&load, rate, &AtomicBool::new(false))?;
                ensure!(outcome.failed == 0, "{} of {} answers were wrong", outcome.failed, outcome.requests);
                for ((share, _name), took) in SHARES.iter().zip(&mut took.0) {
                    took.push(outcome.percentile(*share, |_| true));
                }
            }
        }
        Ok(took)
    }

    /// A new version is announced while requests come in at a fixed rate.
    fn switching(&self, ours: &Server) -> Result<Vec<Row>> {
        let most = load::closed(&self.load(ours.address, 1, 0, 200))?.per_second();
        let rate = most / 4.0; // half of the machine is left for the client, and as much for fetching and verifying
        let steady = load::open(&self.load(ours.address, 1, 0, 201), rate, &AtomicBool::new(false))?;
        let stop = AtomicBool::new(false);
        let load = Load { time: SWITCH_DEADLINE, ..self.load(ours.address, 1, 0, 202) };
        let outcome: Outcome = thread::scope(|scope| -> Result<Outcome> {
            let requests = scope.spawn(|| load::open(&load, rate, &stop));
            let changed = self.build(Version::Second).and_then(|_| self.wait_for(ours, Version::Second));
            thread::sleep(SETTLING);
            stop.store(true, Ordering::Relaxed);
            let outcome = requests.join().expect("the client does not panic");
            changed?;
            outcome
        })?;
        let new = outcome.answers.iter().filter(|answer| answer.version == Version::Second.mark());
        let first_new = new.map(|answer| answer.at_us).min().context("no answer came from the new version")?;
        let around = |answer: &load::Answer| answer.at_us.abs_diff(first_new) < 1_000_000;
        println!(
            "switch under {rate:.0} requests a second: the new version answered after {:.1} s",
            f64::from(first_new) / 1e6
        );
        let answered = as_f64(outcome.requests);
        println!("  {answered} requests, {} failed", outcome.failed);
        Ok(vec![
            Row::of_ours("switch: p99 in steady state", "ms", steady.percentile(0.99, |_| true)),
            Row::of_ours("switch: p99 while built, fetched, verified", "ms", outcome.percentile(0.99, |_| true)),
            Row::of_ours("switch: p99 in the second before and after", "ms", outcome.percentile(0.99, around)),
            Row::of_ours("switch: failed requests", "requests", as_f64(outcome.failed)).with_ours_below(1.0),
        ])
    }

    fn wait_for(&self, server: &Server, version: Version) -> Result<()> {
        let look = Load { connections: 1, time: Duration::from_millis(20), ..self.load(server.address, 1, 0, 300) };
        for _ in 0..SWITCH_DEADLINE.as_secs() * 4 {
            let outcome = load::closed(&look)?;
            if outcome.answers.iter().any(|answer| answer.version == version.mark()) {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(250));
        }
        anyhow::bail!("the server did not switch to the new version")
    }
}

fn run_program(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("failed to run {command:?}"))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ended with {}: {errors}", output.status);
    Ok(())
}

/// On a disk, where the system's folder for temporary files may be memory.
fn cache() -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cache")));
    let folder: &Path = &cache.context("there is no home folder")?.join("dragnet/bench");
    fs::create_dir_all(folder).with_context(|| format!("failed to create {}", folder.display()))?;
    Ok(folder.to_owned())
}

#[expect(clippy::cast_precision_loss, reason = "2^53 bytes are more than any bench moves")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
