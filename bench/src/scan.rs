//! How fast a worker scans, beside the `yara` command on the same files with the same rules and as many threads.
//!
//! Both sides take turns in one run, after the files were read once, so that a machine that gets slower or a disk that has to
//! wake up hits them alike; medians of the rounds count. Our side includes all that it does besides scanning: compiling and
//! splitting rules at the push, granting, settling, writing findings. Discovery of the files is not included.

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::cluster::{Cluster, Corpora, Receipt, Sweep};
use crate::report::{Better, Report, Row, median};
use crate::{generate, machine, peer};

const SMALL_FILES: usize = 20_000;
const SMALL_FILE_BYTES: usize = 4 << 10;
const SEED: u64 = 20_240_229;
const RULES: u32 = 1_000;
const CHANGED_RULE: u32 = 500;

/// What the demo hunts in, less its own folder.
const DEMO_FOLDERS: [&str; 5] = ["/usr/bin", "/usr/sbin", "/usr/libexec", "/usr/lib/x86_64-linux-gnu", "/usr/share"];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folders for the large sweeps: by default those of the demo, as far as they are there
    #[arg(long, value_name = "FOLDER", num_args = 1.., default_values = DEMO_FOLDERS)]
    files: Vec<PathBuf>,
    /// Rules for the sweeps that are compared with yara
    #[arg(long, value_name = "PATH", default_value = "examples/rules")]
    rules: PathBuf,
    /// How often each side works; the median counts
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(3..))]
    rounds: u32,
    /// Scanners on our side and threads on the other [default: all cores]
    #[arg(long)]
    cores: Option<NonZeroUsize>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let cores = args.cores.map_or_else(machine::cores, Ok)?;
    for fact in machine::facts() {
        println!("{fact}");
    }
    let cluster = Cluster::start(cores)?;
    println!("{cores} cores for each side; {}; yara {}", cluster.version()?, machine::version_of("yara")?);
    let folder = tempfile::tempdir().context("failed to create a folder for files and rules")?;
    let bench = Bench { cluster, folder, rounds: args.rounds, cores };

    let files: Vec<_> = args.files.iter().filter(|folder| folder.is_dir()).cloned().collect();
    ensure!(!files.is_empty(), "none of the folders for the large sweeps is there; name one with --files");
    let mut rows = bench.large_files(&files, &args.rules)?;
    rows.extend(bench.small_files(&args.rules)?);
    rows.push(bench.changed_rule("one rule of 1,000 changed: again", &files, None)?);
    let with_examples = "one of 1,000 rules changed (the example rules and generated ones)";
    rows.push(bench.changed_rule(with_examples, &files, Some(&args.rules))?);

    let report = Report(rows);
    println!("\n{report}");
    println!("written to {}", report.save("scan")?.display());
    Ok(())
}

struct Bench {
    cluster: Cluster,
    folder: TempDir,
    rounds: u32,
    cores: NonZeroUsize,
}

/// What one round of one side came to.
#[derive(Clone, Copy)]
struct Turn {
    seconds: f64,
    cpu_seconds: f64,
}

/// The rounds of both sides over the same files.
struct Rounds {
    receipt: Receipt,
    ours: Vec<Turn>,
    peer: Vec<Turn>,
    /// Of our rounds, in percent: CPU time of what decides and hands out, of all CPU time.
    overhead: Vec<f64>,
}

impl Bench {
    fn large_files(&self, files: &[PathBuf], rules: &Path) -> Result<Vec<Row>> {
        let Rounds { receipt, ours, peer, overhead } = self.against_yara("large", files, rules)?;
        let megabytes = as_f64(receipt.stored_bytes) / 1e6;
        let gibibytes = as_f64(receipt.stored_bytes) / f64::from(1 << 30);
        let compare = |what, unit, value: &dyn Fn(&Turn) -> f64, better| {
            Row::against_peer(what, unit, median_of(&ours, value), median_of(&peer, value), better)
        };
        Ok(vec![
            compare("large files: speed", "MB/s", &|turn| megabytes / turn.seconds, Better::More)
                .with_ratio_at_least(1.0),
            compare("large files: files", "files/s", &|turn| as_f64(receipt.stored_files) / turn.seconds, Better::More),
            compare("large files: CPU time", "s/GiB", &|turn| turn.cpu_seconds / gibibytes, Better::Less),
            Row::of_ours("large files: overhead of jobs", "% of CPU", median(&overhead)).with_ours_below(5.0),
        ])
    }

    fn small_files(&self, rules: &Path) -> Result<Vec<Row>> {
        let files = self.folder.path().join("small");
        generate::files(&files, SMALL_FILES, SMALL_FILE_BYTES, SEED)?;
        let Rounds { receipt, ours, peer, .. } = self.against_yara("small", &[files], rules)?;
        let speed = |turn: &Turn| as_f64(receipt.stored_files) / turn.seconds;
        let row = Row::against_peer(
            "20,000 files of 4 KiB: files",
            "files/s",
            median_of(&ours, &speed),
            median_of(&peer, &speed),
            Better::More,
        );
        Ok(vec![row.with_ratio_at_least(3.0)])
    }

    /// The first scan is the peer here: whoever cannot tell what a change touches has to repeat it.
    ///
    /// All rules are generated, or those in `examples` and as many generated ones as make 1,000 with them; one of the
    /// generated ones changes.
    fn changed_rule(&self, what: &str, files: &[PathBuf], examples: Option<&Path>) -> Result<Row> {
        let kind = if examples.is_some() { "mixed" } else { "generated" };
        let rules = self.folder.path().join(kind);
        fs::create_dir(&rules).with_context(|| format!("failed to create {}", rules.display()))?;
        let others = match examples {
            Some(examples) => {
                let name = examples.file_name().context("the rules have no name")?;
                generate::copy_rules(examples, &rules.join(name))?
            }
            None => 0,
        };
        let generated = RULES.checked_sub(others).context("there are more examples than rules wanted")?;
        ensure!(generated > CHANGED_RULE, "the rule that changes must be among the {generated} generated ones");
        let file = rules.join("generated.yar");
        let (mut first, mut again) = (Vec::new(), Vec::new());
        let corpora = self.cluster.add_corpora("large", files)?; // once more: it is there already, and this says so without harm
        for round in 1..=self.rounds {
            let ruleset = format!("{kind}-{round}");
            write(&file, &generate::rules(0..generated, None))?;
            first.push(self.sweep(&ruleset, &rules, &corpora)?.time.as_secs_f64());
            write(&file, &generate::rules(0..generated, Some(CHANGED_RULE)))?;
            again.push(self.sweep(&ruleset, &rules, &corpora)?.time.as_secs_f64());
            self.cluster.retire(&ruleset)?;
        }
        let row = Row::against_peer(what, "s", median(&again), median(&first), Better::Less);
        Ok(row.with_ratio_at_least(10.0))
    }

    fn against_yara(&self, name: &str, files: &[PathBuf], rules: &Path) -> Result<Rounds> {
        let shown: Vec<_> = files.iter().map(|folder| folder.display().to_string()).collect();
        println!("\n{name}: {} with the rules in {}", shown.join(", "), rules.display());
        let corpora = self.cluster.add_corpora(name, files)?;
        // One turn of each that does not count: it lists the files and brings them into the page cache.
        let warm_up = format!("{name}-warm-up");
        let receipt = self.sweep(&warm_up, rules, &corpora)?.receipt;
        self.cluster.retire(&warm_up)?;
        peer::scan(rules, files, self.cores.get())?;
        println!("  {} files, {} bytes, {} with findings", receipt.stored_files, receipt.stored_bytes, receipt.matched);

        let mut rounds = Rounds { receipt, ours: Vec::new(), peer: Vec::new(), overhead: Vec::new() };
        for round in 1..=self.rounds {
            let ruleset = format!("{name}-{round}");
            let Sweep { time, cpu, .. } = self.sweep(&ruleset, rules, &corpora)?;
            self.cluster.retire(&ruleset)?;
            let ours = Turn { seconds: time.as_secs_f64(), cpu_seconds: cpu.total().seconds() };
            let deciding = (cpu.orchestrator + cpu.supervisor).seconds();

            let (time, cpu) = peer::scan(rules, files, self.cores.get())?;
            let peer = Turn { seconds: time.as_secs_f64(), cpu_seconds: cpu.seconds() };
            println!("  round {round}: ours {:.2} s, yara {:.2} s", ours.seconds, peer.seconds);
            rounds.overhead.push(100.0 * deciding / ours.cpu_seconds);
            rounds.ours.push(ours);
            rounds.peer.push(peer);
        }
        Ok(rounds)
    }

    /// A sweep that says so when files were left without an answer: speed at their cost would be worth nothing.
    fn sweep(&self, ruleset: &str, rules: &Path, corpora: &Corpora) -> Result<Sweep> {
        let sweep = self.cluster.sweep(ruleset, rules, corpora)?;
        let Receipt { stored_files, matched, clean, .. } = sweep.receipt;
        ensure!(stored_files > 0, "there is no file to sweep");
        let without_answer = stored_files.saturating_sub(matched + clean);
        if without_answer > 0 {
            println!("  {ruleset}: {without_answer} of {stored_files} files have no answer");
        }
        Ok(sweep)
    }
}

fn median_of(turns: &[Turn], value: &dyn Fn(&Turn) -> f64) -> f64 {
    median(&turns.iter().map(value).collect::<Vec<_>>())
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
}

#[expect(clippy::cast_precision_loss, reason = "2^53 bytes are more than any bench reads")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
