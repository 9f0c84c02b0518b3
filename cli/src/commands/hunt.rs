//! `dragnet hunt`: how far each ruleset is in each corpus.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Result, bail};
use clap::Subcommand;
use protocol::v1;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use types::Name;

use super::{
    Context,
    known::{self, name},
    receipt::{Receipt, is_caught_up, state_name},
};
use crate::{
    parse,
    render::{Align, HuntBars, Out, Progress, Speed, Table, bytes, count, elapsed, percent, plural},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List hunts: one per ruleset and corpus
    List(List),
    /// Follow hunts live, until Ctrl-C or until they have caught up
    Watch(Watch),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A hunt is one ruleset in one corpus. It never ends: once it has caught up, it takes each file that arrives.

Examples:
  dragnet hunt list
  dragnet hunt list --all        also hunts of versions that newer ones replaced
  dragnet hunt list --json | jq 'select(.pending_files > 0)'")]
pub struct List {
    /// Also versions that newer ones replaced
    #[arg(long)]
    all: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dragnet hunt watch                                        all hunts
  dragnet hunt watch webshells miners                       those of two rulesets
  dragnet hunt watch --until-caught-up --timeout 10m        for scripts: exits with 0 when all is scanned")]
pub struct Watch {
    /// Rulesets to follow; without any, all
    rulesets: Vec<Name>,
    /// Exit with 0 as soon as each stored file has its outcome
    #[arg(long)]
    until_caught_up: bool,
    /// Give up after this time, with exit code 1
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    timeout: Option<Duration>,
}

/// A hunt as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    #[serde(flatten)]
    receipt: Receipt<'a>,
    units_new: u32,
    units_carried: u32,
}

pub async fn run(command: Command, ctx: &mut Context) -> Result<()> {
    match command {
        Command::List(args) => list(&args, ctx).await,
        Command::Watch(args) => watch(args, ctx).await,
    }
}

async fn list(args: &List, ctx: &mut Context) -> Result<()> {
    let hunts = ctx.cluster.hunts(args.all).await?;
    if ctx.out.is_json() {
        return hunts.iter().try_for_each(|hunt| ctx.out.object(&row(hunt)?));
    }
    if hunts.is_empty() {
        return ctx.out.line(known::NO_HUNTS);
    }
    let (left, right) = (Align::Left, Align::Right);
    let mut table = Table::new(&[
        ("ruleset", left),
        ("version", right),
        ("corpus", left),
        ("state", left),
        ("done", right),
        ("files", right),
        ("size", right),
        ("matched", right),
        ("findings", right),
        ("exceptions", right),
        ("rescanned", right),
        ("carried", right),
    ]);
    for hunt in &hunts {
        let Row { receipt, units_new, units_carried } = row(hunt)?;
        table.row([
            receipt.ruleset.to_owned(),
            receipt.version.to_string(),
            receipt.corpus.to_owned(),
            state(hunt),
            percent(receipt.answered(), receipt.stored_files),
            count(receipt.stored_files),
            bytes(receipt.stored_bytes),
            count(receipt.matched),
            count(receipt.findings),
            count(receipt.exceptions()),
            count(units_new.into()),
            count(units_carried.into()),
        ]);
    }
    ctx.out.line(table)
}

/// A state that is not to be believed while nobody knows which files came.
fn state(hunt: &v1::Hunt) -> String {
    match (hunt.state(), hunt.listing_error.is_empty()) {
        (v1::HuntState::Running | v1::HuntState::CaughtUp, false) => "listing fails".to_owned(),
        (state, _) => state_name(state).replace('_', " "),
    }
}

fn row(hunt: &v1::Hunt) -> Result<Row<'_>> {
    let units = hunt.version.as_ref().map(|version| (version.units_new, version.units_carried));
    let (units_new, units_carried) = units.unwrap_or_default();
    Ok(Row { receipt: Receipt::of(hunt)?, units_new, units_carried })
}

async fn watch(args: Watch, ctx: &mut Context) -> Result<()> {
    let Watch { rulesets, until_caught_up, timeout } = args;
    let names: BTreeSet<&str> = rulesets.iter().map(Name::as_str).collect();
    let started = Instant::now();
    let deadline = timeout.map(|timeout| started + timeout);
    let mut view = View::new(ctx, started);
    let mut watch = ctx.cluster.watch_hunts();
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut hunts: Option<Vec<v1::Hunt>> = None;
    let mut failing = BTreeMap::new();
    loop {
        // `watch.next()` loses nothing when the clock is faster: a watch repeats the whole picture.
        tokio::select! {
            answer = watch.next() => {
                let selected = select(answer?, &names)?;
                let failing_now = failing_listings(&selected);
                for (corpus, error) in failing_now.iter().filter(|(corpus, error)| failing.get(*corpus) != Some(*error)) {
                    view.print(&format!("listing corpus {corpus} fails: {error}"), &mut ctx.out)?;
                }
                failing = failing_now;
                if view.wants_each_change() {
                    view.show(&selected, &mut ctx.out)?;
                }
                let done = until_caught_up && selected.iter().all(is_caught_up);
                hunts = Some(selected);
                if done {
                    break;
                }
            }
            _ = tick.tick() => if let Some(hunts) = &hunts {
                view.show(hunts, &mut ctx.out)?;
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                view.clear();
                let Some(hunts) = &hunts else {
                    bail!("the cluster has not answered within {}", elapsed(started.elapsed()));
                };
                match too_late(hunts, started.elapsed()) {
                    Some(text) => bail!(text),
                    None => break,
                }
            }
        }
    }
    view.show(hunts.as_deref().unwrap_or_default(), &mut ctx.out)?;
    view.clear();
    if ctx.out.is_json() {
        return Ok(());
    }
    let hunts = hunts.unwrap_or_default();
    let done = Progress::sum(&hunts);
    ctx.out.line(format!(
        "{} caught up: {}, {}",
        plural(hunts.len() as u64, "hunt"),
        plural(done.files, "answer"),
        elapsed(started.elapsed())
    ))
}

/// Corpora whose last listing failed, with the reason.
fn failing_listings(hunts: &[v1::Hunt]) -> BTreeMap<String, String> {
    let failing = hunts.iter().filter(|hunt| !hunt.listing_error.is_empty());
    failing.map(|hunt| (name(hunt.corpus.as_ref()).to_owned(), hunt.listing_error.clone())).collect()
}

/// What is missing when the time is over; `None` when nothing is.
fn too_late(hunts: &[v1::Hunt], waited: Duration) -> Option<String> {
    let left = hunts.iter().filter(|hunt| !is_caught_up(hunt)).count() as u64;
    let have = if left == 1 { "has" } else { "have" };
    let mut text = format!("{} {have} not caught up within {}", plural(left, "hunt"), elapsed(waited));
    for (corpus, error) in failing_listings(hunts) {
        text.push_str(&format!("; listing corpus {corpus} fails: {error}"));
    }
    (left > 0).then_some(text)
}

/// The hunts that were asked for and can make progress. An answer without any is an error: waiting for
/// nothing would look like success.
fn select(hunts: Vec<v1::Hunt>, names: &BTreeSet<&str>) -> Result<Vec<v1::Hunt>> {
    let live = |hunt: &v1::Hunt| matches!(hunt.state(), v1::HuntState::Running | v1::HuntState::CaughtUp);
    for name in names {
        let states = || hunts.iter().filter(|hunt| known::is(hunt.ruleset.as_ref(), name));
        match states().find(|hunt| live(hunt)).or(states().next()).map(v1::Hunt::state) {
            None => bail!("there is no hunt of {name}; `dragnet hunt list` shows all"),
            Some(v1::HuntState::Paused) => bail!("{name} is paused; to go on: dragnet rules resume {name}"),
            Some(v1::HuntState::Retired) => bail!("{name} is retired; push it again to hunt with it"),
            Some(v1::HuntState::Unspecified | v1::HuntState::Superseded) => bail!("{name} does not hunt any more"),
            Some(v1::HuntState::Running | v1::HuntState::CaughtUp) => {}
        }
    }
    let chosen = |hunt: &v1::Hunt| names.is_empty() || names.contains(name(hunt.ruleset.as_ref()));
    let selected: Vec<_> = hunts.into_iter().filter(|hunt| live(hunt) && chosen(hunt)).collect();
    if selected.is_empty() {
        bail!("there is nothing to watch: no active ruleset hunts in any corpus");
    }
    Ok(selected)
}

/// How a watch is shown: bars on a terminal, else a line per second for each hunt that moved, or objects.
enum View {
    Bars(HuntBars),
    Lines { seen: BTreeMap<(u32, u32), (v1::Hunt, Speed)>, started: Instant },
    Objects,
}

impl View {
    fn new(ctx: &Context, started: Instant) -> Self {
        match (ctx.out.is_json(), ctx.out.is_terminal()) {
            (true, _) => Self::Objects,
            (false, true) => Self::Bars(HuntBars::new()),
            (false, false) => Self::Lines { seen: BTreeMap::new(), started },
        }
    }

    fn wants_each_change(&self) -> bool {
        match self {
            Self::Bars(_) | Self::Objects => true,
            Self::Lines { .. } => false,
        }
    }

    fn show(&mut self, hunts: &[v1::Hunt], out: &mut Out) -> Result<()> {
        let now = Instant::now();
        match self {
            Self::Bars(bars) => bars.update(hunts, now),
            Self::Objects => hunts.iter().try_for_each(|hunt| out.object(&row(hunt)?))?,
            Self::Lines { seen, started } => {
                for hunt in hunts {
                    let (last, speed) = seen.entry((hunt.ruleset_id, hunt.corpus_id)).or_default();
                    speed.sample(now, hunt.done_bytes);
                    if last == hunt {
                        continue;
                    }
                    *last = hunt.clone();
                    out.line(line(hunt, speed, now.duration_since(*started)))?;
                }
            }
        }
        out.flush()
    }

    /// A line at once. Objects carry what it says themselves.
    fn print(&self, text: &str, out: &mut Out) -> Result<()> {
        match self {
            Self::Bars(bars) => bars.print(text),
            Self::Lines { started, .. } => {
                out.line(format!("[{:>4} s] {text}", started.elapsed().as_secs()))?;
                out.flush()?;
            }
            Self::Objects => {}
        }
        Ok(())
    }

    fn clear(&self) {
        if let Self::Bars(bars) = self {
            bars.clear();
        }
    }
}

fn line(hunt: &v1::Hunt, speed: &Speed, elapsed: Duration) -> String {
    let progress = Progress::of(hunt);
    let state = match (is_caught_up(hunt), hunt.listing_error.is_empty()) {
        (true, true) => "caught up".to_owned(),
        (_, false) => "listing fails".to_owned(),
        (false, true) => speed.text(&progress),
    };
    let version =
        hunt.version.as_ref().and_then(|version| version.version.as_ref()).map_or(0, |version| version.number);
    format!(
        "[{:>4} s] {} v{version} in {}: {}  {state}",
        elapsed.as_secs(),
        name(hunt.ruleset.as_ref()),
        name(hunt.corpus.as_ref()),
        progress.amounts("files")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunt(ruleset: &str, state: v1::HuntState) -> v1::Hunt {
        let ruleset = Some(v1::Key { tenant: "default".to_owned(), name: ruleset.to_owned() });
        v1::Hunt { ruleset, state: state.into(), ..v1::Hunt::default() }
    }

    #[test]
    fn only_hunts_that_can_move_are_watched() {
        let hunts = vec![hunt("a", v1::HuntState::Running), hunt("b", v1::HuntState::Paused)];
        assert_eq!(select(hunts.clone(), &BTreeSet::new()).unwrap().len(), 1);
        let refusal = |name| select(hunts.clone(), &BTreeSet::from([name])).unwrap_err().to_string();
        assert_eq!(refusal("b"), "b is paused; to go on: dragnet rules resume b");
        assert!(refusal("c").contains("no hunt of c"));
        assert!(select(hunts[1..].to_vec(), &BTreeSet::new()).unwrap_err().to_string().contains("nothing to watch"));
    }

    #[test]
    fn who_waited_too_long_learns_for_what() {
        let second = Duration::from_secs(12);
        let (done, mut open) = (hunt("a", v1::HuntState::CaughtUp), hunt("b", v1::HuntState::Running));
        assert_eq!(too_late(std::slice::from_ref(&done), second), None);
        assert_eq!(too_late(&[done, open.clone()], second).unwrap(), "1 hunt has not caught up within 12 s");
        open.corpus = Some(v1::Key { tenant: "default".to_owned(), name: "files".to_owned() });
        open.listing_error = "it is gone".to_owned();
        let text = "2 hunts have not caught up within 12 s; listing corpus files fails: it is gone";
        assert_eq!(too_late(&[open.clone(), open.clone()], second).unwrap(), text);
        assert_eq!(state(&open), "listing fails");
    }
}
