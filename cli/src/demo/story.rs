//! The steps of the demo, one after another.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use protocol::v1;
use tokio::time::Instant;
use types::{Name, RulesetArtifact};

use super::{
    accident::{self, Accident},
    answers::{self, Found},
    follow::follow,
    memory::Memory,
    places,
    setting::{self, EICAR_FILE, Examples},
    sweep,
};
use crate::{
    client::Cluster,
    commands::{
        corpus,
        receipt::{Receipt, is_caught_up},
        rules,
    },
    render::{Out, Progress, bytes, count, elapsed, plural, rate},
    up::{layout::Layout, local::Local},
};

const STEPS: usize = 8;
const INCOMING: &str = "incoming";
const SWEEP: &str = "demo-sweep";
/// How much of a sweep is done when the accident happens, in thousandths of its bytes. Early, because the
/// last part may be one grant.
const UNDER_WAY: u64 = 250;

/// Everything the steps need.
pub(super) struct Story<'a> {
    pub(super) out: &'a mut Out,
    pub(super) cluster: &'a Cluster,
    pub(super) examples: &'a Examples,
    pub(super) memory: &'a Memory,
    /// Lines about processes that ended and were started again.
    pub(super) notices: Receiver<String>,
    pub(super) begun: Instant,
}

/// What the last lines say.
#[derive(Debug)]
pub(super) struct Ending {
    files: u64,
    bytes: u64,
    rulesets: usize,
    first_scan: Duration,
    rescan: Option<(String, Duration)>,
    arrival: Duration,
    sweep: Duration,
    findings: u64,
    election: Duration,
    total: Duration,
    memory: Vec<String>,
}

impl Story<'_> {
    pub(super) async fn tell(&mut self, local: &mut Local) -> Result<Ending> {
        self.start(local).await?;
        let (memory, local) = (self.memory, &*local);
        tokio::select! {
            ending = Box::pin(self.go_on(local)) => ending,
            () = memory.watch(local) => bail!("nobody watches the memory any more"),
            error = local.failed() => Err(error),
        }
    }

    async fn go_on(&mut self, local: &Local) -> Result<Ending> {
        let layout = &local.plan().layout;
        let incoming = layout.root().join(INCOMING);
        self.add_corpora(&incoming).await?;
        let rulesets = self.push_rules().await?;
        let (first, first_scan) = self.first_scan().await?;
        let found = self.show_answers(&first).await?;
        let rescan = self.next_versions(&first).await?;
        let arrival = self.new_files(&incoming).await?;
        let (accident, sweep) = self.accident(local).await?;

        let corpora = self.cluster.corpora().await?;
        let kinds = self.memory.kinds().into_iter();
        let memory = kinds.map(|(kind, (peak, processes))| format!("{kind} {} (x{processes})", bytes(peak)));
        Ok(Ending {
            files: corpora.iter().map(|corpus| corpus.files).sum(),
            bytes: corpora.iter().map(|corpus| corpus.bytes).sum(),
            rulesets: rulesets + 1,
            first_scan,
            rescan,
            arrival,
            sweep,
            findings: found.findings(),
            election: accident.election,
            total: self.begun.elapsed(),
            memory: memory.chain([format!("all together at most {}", bytes(self.memory.together()))]).collect(),
        })
    }

    fn head(&mut self, step: usize, title: &str) -> Result<()> {
        self.out.line(format!("\n━━ {step}/{STEPS}  {title}"))?;
        self.out.flush()
    }

    fn say(&mut self, text: impl std::fmt::Display) -> Result<()> {
        self.out.line(format!("  {text}"))?;
        self.out.flush()
    }

    async fn start(&mut self, local: &mut Local) -> Result<()> {
        self.head(1, "A cluster on this machine: three orchestrators, one worker")?;
        let begun = Instant::now();
        local.start().await?;
        let plan = local.plan();
        let addresses = plan.settings.addresses().join(", ");
        let (scanners, root) = (plural(plan.scanners as u64, "scanner"), plan.layout.root().display().to_string());
        self.say(format!("ready after {}: {addresses}; a worker with {scanners}", elapsed(begun.elapsed())))?;
        self.say(format!("everything is kept in {root}"))
    }

    async fn add_corpora(&mut self, incoming: &Path) -> Result<()> {
        self.head(2, "Where to look: real programs and libraries of this machine, and a folder for what comes in")?;
        setting::fill(incoming, &self.examples.samples()?)?;
        let chosen =
            tokio::task::spawn_blocking(places::choose).await.context("failed to look at this machine's folders")?;
        let (mut files, mut size) = (0, 0);
        for place in &chosen {
            self.add_corpus(&places::name(&place.path), &place.path, 30_000).await?;
            self.say(format!(
                "{:<28} {:>8} files  {:>9}",
                place.path.display(),
                count(place.files),
                bytes(place.bytes)
            ))?;
            (files, size) = (files + place.files, size + place.bytes);
        }
        self.add_corpus(INCOMING, incoming, 1_000).await?;
        self.say(format!("{:<28} {:>8}", incoming.display(), "samples, and the EICAR test file"))?;
        self.say(format!("together {}, {}", plural(files, "file"), bytes(size)))?;
        if size < 1 << 30 || files < 5_000 {
            self.say("this machine has little installed, so the demo is smaller than usual")?;
        }
        Ok(())
    }

    async fn add_corpus(&self, name: &str, folder: &Path, listing_interval_ms: u64) -> Result<()> {
        let name: Name = name.parse().with_context(|| format!("{} has no usable name", folder.display()))?;
        let request = v1::PutCorpusRequest {
            key: Some(self.cluster.key(&name)),
            url: corpus::url_of(folder)?,
            max_file_bytes: 0,
            listing_interval_ms,
        };
        self.cluster.put_corpus(request).await?;
        Ok(())
    }

    async fn push_rules(&mut self) -> Result<usize> {
        self.head(3, "What to look for: the example rulesets")?;
        let mut compiled: Vec<(Name, RulesetArtifact)> = Vec::new();
        for folder in self.examples.rulesets()? {
            compiled.push((rules::name_of(&folder)?, rules::compile(&folder, false)?));
        }
        if compiled.is_empty() {
            bail!("there are no example rulesets");
        }
        // At once, so that the worker reads each file once for all of them.
        try_join_all(compiled.iter().map(|(name, artifact)| rules::put(self.cluster, name, artifact, &[]))).await?;
        let names: Vec<_> = compiled.iter().map(|(name, _)| name.as_str()).collect();
        let count: usize = compiled.iter().map(|(_, artifact)| artifact.units.len()).sum();
        self.say(format!(
            "{} with {}: {}",
            plural(names.len() as u64, "ruleset"),
            plural(count as u64, "rule"),
            names.join(", ")
        ))?;
        Ok(names.len())
    }

    async fn first_scan(&mut self) -> Result<(Vec<v1::Hunt>, Duration)> {
        self.head(4, "The hunts: each ruleset in each corpus, every file read once for all rulesets")?;
        let begun = Instant::now();
        let hunts = self.follow(|_| true, all_caught_up).await?;
        let took = begun.elapsed();
        let corpora = self.cluster.corpora().await?;
        let size = corpora.iter().map(|corpus| corpus.bytes).sum();
        let answers = Progress::sum(&hunts).files;
        self.say(format!(
            "{} in {}: {} of files at {}, {} ({}/s)",
            plural(hunts.len() as u64, "hunt"),
            elapsed(took),
            bytes(size),
            rate(size, took),
            plural(answers, "answer"),
            count(u64::try_from(u128::from(answers) * 1000 / took.as_millis().max(1)).unwrap_or(u64::MAX)),
        ))?;
        Ok((hunts, took))
    }

    async fn show_answers(&mut self, hunts: &[v1::Hunt]) -> Result<Found> {
        self.head(5, "The answers: what was found, and a receipt for every file")?;
        let found = Found::read(self.cluster).await?;
        found.show(self.out)?;
        if !found.incoming.contains_key(EICAR_FILE) {
            bail!("the EICAR test file in {INCOMING} was not found by any rule");
        }
        self.out.line("")?;
        answers::by_corpus(hunts, self.out)?;
        if let Some(example) = hunts.iter().max_by_key(|hunt| hunt.outcomes.unwrap_or_default().matched) {
            self.say("one of them in full, as `dragnet receipt` prints it:")?;
            for line in Receipt::of(example)?.text().lines() {
                self.say(format!("  {line}"))?;
            }
        }
        Ok(found)
    }

    /// Pushes later versions; returns the last one's name and time.
    async fn next_versions(&mut self, first: &[v1::Hunt]) -> Result<Option<(String, Duration)>> {
        self.head(6, "Rules change: only what is new is scanned again")?;
        let mut last = None;
        for folder in self.examples.next_versions()? {
            let name = rules::name_of(&folder)?;
            let artifact = rules::compile(&folder, false)?;
            let begun = Instant::now();
            let pushed = rules::put(self.cluster, &name, &artifact, &[]).await?;
            let number = pushed.version.as_ref().map_or(0, |version| version.number);
            let (new, carried) = (pushed.units_new, pushed.units_carried);
            self.say(format!(
                "{name} version {number}: {} to scan with, {carried} carried over",
                plural(new.into(), "new unit")
            ))?;
            if !pushed.created {
                bail!("{} has the same sources as the version before", folder.display());
            }
            let hunts = self
                .follow(|hunt| of_ruleset(hunt, name.as_str()), |hunts| all_caught_up(hunts) && all_at(hunts, number))
                .await?;
            let took = begun.elapsed();
            let before: Vec<_> = first.iter().filter(|hunt| of_ruleset(hunt, name.as_str())).collect();
            let scanned =
                |hunts: &mut dyn Iterator<Item = &v1::Hunt>| bytes(hunts.map(|hunt| hunt.scanned_bytes).sum());
            let slowest = before.iter().filter_map(|hunt| Receipt::of(hunt).ok()?.time()).max().unwrap_or_default();
            self.say(format!(
                "version {number} took {} and read {}; version 1 took {} together with all other rulesets and read {}",
                elapsed(took),
                scanned(&mut hunts.iter()),
                elapsed(slowest),
                scanned(&mut before.iter().copied()),
            ))?;
            answers::receipts(&hunts, self.out)?;
            last = Some((format!("{name} version {number}, {}", plural(new.into(), "new unit")), took));
        }
        Ok(last)
    }

    async fn new_files(&mut self, incoming: &Path) -> Result<Duration> {
        self.head(7, "Files arrive: every hunt takes them as they come")?;
        let corpora = self.cluster.corpora().await?;
        let is_incoming = |corpus: &&v1::Corpus| corpus.key.as_ref().is_some_and(|key| key.name == INCOMING);
        let before = corpora.iter().find(is_incoming).context("the corpus incoming is gone")?.files;
        let samples: Vec<PathBuf> = self.examples.samples()?;
        let dropped = setting::drop_new(incoming, &samples)?;
        let begun = Instant::now();
        self.say(format!("{} dropped into {}", plural(dropped, "file"), incoming.display()))?;
        let expected = before + dropped;
        let seen =
            |hunts: &[v1::Hunt]| hunts.iter().all(|hunt| hunt.stored_files >= expected && hunt.pending_files == 0);
        let hunts = self.follow(|hunt| in_corpus(hunt, INCOMING), seen).await?;
        let took = begun.elapsed();
        let matched: u64 = hunts.iter().map(|hunt| hunt.outcomes.unwrap_or_default().matched).sum();
        self.say(format!(
            "{} after they arrived, {} had answered for all of them: incoming has {} matches now",
            elapsed(took),
            plural(hunts.len() as u64, "hunt"),
            count(matched),
        ))?;
        Ok(took)
    }

    async fn accident(&mut self, local: &Local) -> Result<(Accident, Duration)> {
        self.head(8, "A full sweep with new rules, and in the middle of it the leader is killed")?;
        let folder = local.plan().layout.root().join(SWEEP);
        sweep::write(&folder)?;
        let artifact = rules::compile(&folder, false)?;
        let begun = Instant::now();
        let name: Name = SWEEP.parse().context("the sweep has a valid name")?;
        rules::put(self.cluster, &name, &artifact, &[]).await?;
        self.say(format!("{SWEEP}: {} for every file", plural(artifact.units.len() as u64, "rule")))?;
        let far_enough = |hunts: &[v1::Hunt]| all_caught_up(hunts) || Progress::sum(hunts).per_mille() >= UNDER_WAY;
        let hunts = self.follow(|hunt| of_ruleset(hunt, SWEEP), far_enough).await?;
        if all_caught_up(&hunts) {
            bail!("the sweep had ended before the leader could be killed");
        }
        let progress = Progress::sum(&hunts);
        self.say(format!("under way: {}", progress.amounts("files")))?;
        let accident = accident::strike(local, self.out).await?;
        let hunts = self.follow(|hunt| of_ruleset(hunt, SWEEP), all_caught_up).await?;
        let took = begun.elapsed();
        self.say(format!("the sweep ended after {}, nothing lost:", elapsed(took)))?;
        answers::receipts(&hunts, self.out)?;
        accident::wait_back(local, &accident, self.out).await?;
        Ok((accident, took))
    }

    async fn follow(
        &mut self,
        wanted: impl Fn(&v1::Hunt) -> bool,
        done: impl Fn(&[v1::Hunt]) -> bool,
    ) -> Result<Vec<v1::Hunt>> {
        follow(self.cluster, self.out, &self.notices, wanted, done).await
    }
}

fn all_caught_up(hunts: &[v1::Hunt]) -> bool {
    hunts.iter().all(is_caught_up)
}

fn all_at(hunts: &[v1::Hunt], number: u32) -> bool {
    let version = |hunt: &v1::Hunt| Some(hunt.version.as_ref()?.version.as_ref()?.number);
    hunts.iter().all(|hunt| version(hunt) == Some(number))
}

fn of_ruleset(hunt: &v1::Hunt, name: &str) -> bool {
    hunt.ruleset.as_ref().is_some_and(|key| key.name == name)
}

fn in_corpus(hunt: &v1::Hunt, name: &str) -> bool {
    hunt.corpus.as_ref().is_some_and(|key| key.name == name)
}

impl Ending {
    pub(super) fn print(self, out: &mut Out, layout: &Layout) -> Result<()> {
        let Self {
            files,
            bytes: size,
            rulesets,
            first_scan,
            rescan,
            arrival,
            sweep,
            findings,
            election,
            total,
            memory,
        } = self;
        let rescan = rescan.map_or("-".to_owned(), |(what, took)| format!("{} ({what})", elapsed(took)));
        out.line("\n━━ Summary")?;
        for (what, value) in [
            ("files", format!("{}, {}", count(files), bytes(size))),
            (
                "first scan",
                format!(
                    "{} with {}, {}",
                    elapsed(first_scan),
                    plural(rulesets as u64 - 1, "ruleset"),
                    rate(size, first_scan)
                ),
            ),
            ("findings", count(findings)),
            ("rescan", rescan),
            ("new files", format!("answered {} after they arrived", elapsed(arrival))),
            ("sweep", format!("{} with the leader killed in the middle of it", elapsed(sweep))),
            ("failover", format!("{} until another orchestrator led", elapsed(election))),
            ("peak memory", memory.join(", ")),
            ("total time", elapsed(total)),
        ] {
            out.line(format!("  {what:<12} {value}"))?;
        }
        out.line("\nA cluster to keep, on this machine:    dragnet up")?;
        out.line(format!("This one, as the demo left it:         dragnet up --dir {}", layout.root().display()))
    }
}
