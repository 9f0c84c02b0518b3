//! How fast, and where the time goes. Run alone, on a quiet machine:
//!
//! `cargo test --release -p scan-worker --test it throughput -- --ignored --nocapture`
//!
//! `CORPUS` is a folder (default: 20,000 pieces of 4 KiB made of programs), `RULES` a file or folder of rules.

use std::{fs, path::PathBuf};

use protocol::v1;
use tokio::time::Instant;
use types::RulesetSource;

use crate::world::{Results, World, cpu_ticks, target};

const FILES: usize = 20_000;
const FILE_BYTES: usize = 4096;
const TICKS_PER_SECOND: f64 = 100.0;

#[tokio::test]
#[ignore = "measures"]
async fn throughput() {
    let world = World::new(&[]).await;
    let corpus = std::env::var_os("CORPUS").map_or_else(|| pieces_of_programs(&world), PathBuf::from);
    let corpus = v1::CorpusRef {
        id: 2,
        url: format!("file://{}", corpus.display()),
        max_file_bytes: 512 << 20,
        ..world.corpus()
    };
    let examples = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../examples/rules");
    let loaded = rules::load(&std::env::var_os("RULES").map_or(examples, PathBuf::from)).unwrap();
    let sources: Vec<_> =
        loaded.into_iter().map(|source| RulesetSource { namespace: source.namespace, text: source.text }).collect();
    let version = world.ruleset(1, sources).await;

    let started = Instant::now();
    let lease = world.leader.grant(v1::grant::Job::List(v1::ListJob { corpus: Some(corpus.clone()) }));
    world.leader.listed(lease).await;
    let segments = world.leader.state().segments.clone();
    let (files, bytes) =
        segments.iter().fold((0, 0), |sum, segment| (sum.0 + u64::from(segment.files), sum.1 + segment.bytes));
    println!("listed {files} files, {} MiB, {} segments in {:.2?}", bytes >> 20, segments.len(), started.elapsed());

    for round in 1..=2 {
        let before = world.cpu();
        let started = Instant::now();
        let leases: Vec<_> = segments
            .iter()
            .map(|segment| {
                world.leader.grant(v1::grant::Job::Scan(v1::ScanJob {
                    corpus: Some(corpus.clone()),
                    segment: Some(segment.clone()),
                    targets: vec![target(1, &version)],
                }))
            })
            .collect();
        let (mut scanned, mut findings, mut excepted) = (0, 0, 0);
        for lease in leases {
            let results = Results(world.leader.settled_within(lease, 600).await.results);
            let done = results.done(1);
            scanned += done.scanned_bytes;
            findings += done.findings;
            excepted += done.excepted.len();
        }
        let elapsed = started.elapsed().as_secs_f64();
        let (supervisor, scanners) = (world.cpu().0 - before.0, world.cpu().1 - before.1);
        println!(
            "round {round}: {elapsed:.2} s, {:.0} files/s, {:.1} MB/s, {findings} findings, {excepted} excepted; \
             CPU supervisor {supervisor:.2} s, scanners {scanners:.2} s: {:.1} % overhead",
            files as f64 / elapsed,
            scanned as f64 / elapsed / 1e6,
            supervisor / (supervisor + scanners) * 100.0,
        );
    }
}

impl World {
    /// Seconds of processor time that the supervisor and its scanners have used.
    fn cpu(&self) -> (f64, f64) {
        let seconds = |pid| cpu_ticks(pid).unwrap_or(0) as f64 / TICKS_PER_SECOND;
        (seconds(self.worker.0.id()), self.scanners().into_iter().map(seconds).sum())
    }
}

fn pieces_of_programs(world: &World) -> PathBuf {
    let mut programs: Vec<_> = fs::read_dir("/usr/bin").unwrap().map(|entry| entry.unwrap().path()).collect();
    programs.sort();
    let mut written = 0;
    for program in programs {
        for piece in fs::read(&program).unwrap_or_default().chunks_exact(FILE_BYTES) {
            if written == FILES {
                return world.path("");
            }
            let folder = world.path(&format!("{:02}", written / 1000));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(written.to_string()), piece).unwrap();
            written += 1;
        }
    }
    world.path("")
}
