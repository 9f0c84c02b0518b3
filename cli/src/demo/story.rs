//! The steps of the demo, one after another.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
    time::Duration,
};

use ::dataset::VersionId;
use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use protocol::v1;
use tokio::time::Instant;
use types::{Name, RulesetArtifact};

use super::{
    accident::{self, Accident},
    answers::{self, Found},
    follow::follow,
    known::{self, Dataset, Lookups},
    memory::Memory,
    packages::{self, Packages},
    places::{self, Place},
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
    up::{kv::Kv, layout::Layout, local::Local},
};

const STEPS: usize = 9;
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
    dataset: Option<String>,
    findings: u64,
    election: Duration,
    total: Duration,
    memory: Vec<String>,
}

impl Story<'_> {
    pub(super) async fn tell(&mut self, local: &mut Local) -> Result<Ending> {
        let places =
            tokio::task::spawn_blocking(places::choose).await.context("failed to look at this machine's folders")?;
        let dataset = self.dataset(local, &places).await?;
        self.start(local, dataset.as_ref().map(|(_, version)| *version)).await?;
        let dataset = dataset.map(|(dataset, _)| dataset);
        let (memory, local) = (self.memory, &*local);
        tokio::select! {
            ending = Box::pin(self.go_on(local, &places, dataset.as_ref())) => ending,
            () = memory.watch(local) => bail!("nobody watches the memory any more"),
            error = local.failed() => Err(error),
        }
    }

    async fn go_on(&mut self, local: &Local, places: &[Place], dataset: Option<&Dataset>) -> Result<Ending> {
        let layout = &local.plan().layout;
        let incoming = layout.root().join(INCOMING);
        self.add_corpora(&incoming, places, dataset.is_some()).await?;
        let rulesets = self.push_rules().await?;
        let (first, first_scan) = self.first_scan().await?;
        let found = self.show_answers(&first, dataset.is_some()).await?;
        let rescan = self.next_versions(&first).await?;
        let arrival = self.new_files(&incoming).await?;
        let (accident, sweep, switched) = Box::pin(self.accident(local, dataset)).await?;

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
            dataset: switched,
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

    /// Builds the dataset and has it served from the start on. None: this machine has no records of packages.
    async fn dataset(&mut self, local: &mut Local, places: &[Place]) -> Result<Option<(Dataset, VersionId)>> {
        self.head(1, "What is known already: which package each file of this machine belongs to")?;
        if !packages::is_dpkg_here() {
            self.say("this machine has no dpkg, whose records the dataset is made of: the demo goes on without one")?;
            return Ok(None);
        }
        let begun = Instant::now();
        let below: Vec<_> = places.iter().map(|place| place.path.clone()).collect();
        let read = tokio::task::spawn_blocking(move || Packages::read(&below)).await;
        let packages = read.context("failed to read the packages of this machine")??;
        let (files, size, others) = (packages.files, packages.bytes, packages.others);
        self.say(format!(
            "{} of {}, {}, as their packages brought them; others, which changed, are gone or are links: {}",
            plural(files, "file"),
            plural(packages.packages as u64, "package"),
            bytes(size),
            count(others)
        ))?;
        if files == 0 {
            self.say("so there is nothing to make a dataset of, and the demo goes on without one")?;
            return Ok(None);
        }
        let (read, begun) = (begun.elapsed(), Instant::now());
        let dataset = Dataset::new(&local.plan().layout, packages)?;
        let version = dataset.build(false, true).await?;
        self.say(format!(
            "dataset {} {version}: {} in {} shards; {} to hash the files, {} to build it",
            known::NAME,
            plural(dataset.packages().contents() as u64, "key"),
            known::SHARDS,
            elapsed(read),
            elapsed(begun.elapsed()),
        ))?;
        let mut settings = local.plan().settings.clone();
        settings = settings.with_datasets(vec![dataset.url().to_owned()], Vec::new(), Some(known::SHARDS), false);
        let kv = Kv::of(&settings).await?.with_own_shards();
        local.serve(settings, kv);
        Ok(Some((dataset, version)))
    }

    async fn start(&mut self, local: &mut Local, version: Option<VersionId>) -> Result<()> {
        let servers = match local.plan().kv.servers() {
            0 => String::new(),
            servers => format!(", {}", plural(servers.into(), "key-value server")),
        };
        self.head(2, &format!("A cluster on this machine: three orchestrators, one worker{servers}"))?;
        let begun = Instant::now();
        local.start().await?;
        let plan = local.plan();
        let addresses = plan.settings.addresses().join(", ");
        let (scanners, root) = (plural(plan.scanners as u64, "scanner"), plan.layout.root().display().to_string());
        self.say(format!("ready after {}: {addresses}; a worker with {scanners}", elapsed(begun.elapsed())))?;
        if let Some(version) = version {
            let took = known::served(&local.plan().kv, version).await?;
            let slowest = took.into_iter().max().unwrap_or_default();
            self.say(format!("both key-value servers serve {} {version}, {} later", known::NAME, elapsed(slowest)))?;
        }
        self.say(format!("everything is kept in {root}"))
    }

    async fn add_corpora(&mut self, incoming: &Path, chosen: &[Place], looked_up: bool) -> Result<()> {
        self.head(3, "Where to look: real programs and libraries of this machine, and a folder for what comes in")?;
        setting::fill(incoming, &self.examples.samples()?)?;
        let (mut files, mut size) = (0, 0);
        for place in chosen {
            self.add_corpus(&places::name(&place.path), &place.path, 30_000, looked_up).await?;
            self.say(format!(
                "{:<28} {:>8} files  {:>9}",
                place.path.display(),
                count(place.files),
                bytes(place.bytes)
            ))?;
            (files, size) = (files + place.files, size + place.bytes);
        }
        self.add_corpus(INCOMING, incoming, 1_000, looked_up).await?;
        self.say(format!("{:<28} {:>8}", incoming.display(), "samples, and the EICAR test file"))?;
        self.say(format!("together {}, {}", plural(files, "file"), bytes(size)))?;
        if looked_up {
            self.say(format!("all of them name the dataset {}: their files are looked up in it", known::NAME))?;
        }
        if size < 1 << 30 || files < 5_000 {
            self.say("this machine has little installed, so the demo is smaller than usual")?;
        }
        Ok(())
    }

    async fn add_corpus(&self, name: &str, folder: &Path, listing_interval_ms: u64, looked_up: bool) -> Result<()> {
        let name: Name = name.parse().with_context(|| format!("{} has no usable name", folder.display()))?;
        let request = v1::PutCorpusRequest {
            key: Some(self.cluster.key(&name)),
            url: corpus::url_of(folder)?,
            max_file_bytes: 0,
            listing_interval_ms,
            datasets: if looked_up { vec![known::NAME.to_owned()] } else { Vec::new() },
            ..v1::PutCorpusRequest::default()
        };
        self.cluster.put_corpus(request).await?;
        Ok(())
    }

    async fn push_rules(&mut self) -> Result<usize> {
        self.head(4, "What to look for: the example rulesets")?;
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
        self.head(5, "The hunts: each ruleset in each corpus, every file read once for all rulesets")?;
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

    async fn show_answers(&mut self, hunts: &[v1::Hunt], looked_up: bool) -> Result<Found> {
        self.head(6, "The answers: what was found, and a receipt for every file")?;
        let found = Found::read(self.cluster).await?;
        found.show(self.out)?;
        if !found.incoming.contains_key(EICAR_FILE) {
            bail!("the EICAR test file in {INCOMING} was not found by any rule");
        }
        if looked_up {
            let (known, unavailable) = (found.known, found.unavailable);
            self.say(format!("of these, {} are in files of a package as it brought them", count(known)))?;
            if known == 0 || unavailable > 0 {
                bail!("{known} findings name a package, {unavailable} had no answer from the dataset");
            }
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
        self.head(7, "Rules change: only what is new is scanned again")?;
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
        self.head(8, "Files arrive: every hunt takes them as they come")?;
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

    async fn accident(
        &mut self,
        local: &Local,
        dataset: Option<&Dataset>,
    ) -> Result<(Accident, Duration, Option<String>)> {
        let also = if dataset.is_some() { " and the dataset replaced" } else { "" };
        self.head(9, &format!("A full sweep with new rules, and in the middle of it the leader is killed{also}"))?;
        let next = match dataset {
            Some(dataset) => Some((dataset, dataset.build(true, false).await?)),
            None => None,
        };
        if let Some((_, version)) = next {
            self.say(format!(
                "{} {version} is built and not announced: it adds how often each content occurs",
                known::NAME
            ))?;
        }
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
        let before = match next {
            Some((dataset, version)) => {
                let before = known::lookups(&local.plan().kv).await?;
                dataset.announce(version).await?;
                Some(before)
            }
            None => None,
        };
        let accident = accident::strike(local, self.out).await?;
        if let Some((_, version)) = next {
            let took = known::served(&local.plan().kv, version).await?;
            let took: Vec<_> = took.into_iter().map(elapsed).collect();
            self.say(format!("{} {version} is served, by each server after: {}", known::NAME, took.join(", ")))?;
        }
        let hunts = self.follow(|hunt| of_ruleset(hunt, SWEEP), all_caught_up).await?;
        let took = begun.elapsed();
        self.say(format!("the sweep ended after {}, nothing lost:", elapsed(took)))?;
        answers::receipts(&hunts, self.out)?;
        let switched = match before {
            Some(before) => Some(self.check_lookups(local, before).await?),
            None => None,
        };
        accident::wait_back(local, &accident, self.out).await?;
        Ok((accident, took, switched))
    }

    /// No lookup failed, before the switch or after it.
    async fn check_lookups(&mut self, local: &Local, before: Lookups) -> Result<String> {
        let Lookups { lookups, hits, unavailable } = known::lookups(&local.plan().kv).await?;
        let since = lookups - before.lookups;
        self.say(format!(
            "{} files were looked up since the switch began, {unavailable} lookups failed",
            count(since)
        ))?;
        if unavailable > 0 || hits == 0 || since == 0 {
            bail!(
                "of {lookups} lookups {hits} found something and {unavailable} failed, {since} came since the switch"
            );
        }
        Ok(format!(
            "{} looked up, {} known; version 2 took over during the sweep, {unavailable} lookups failed",
            plural(lookups, "file"),
            count(hits)
        ))
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
            dataset,
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
            ("dataset", dataset.unwrap_or_else(|| "none, without dpkg".to_owned())),
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
