//! Runs stories, some at a time, and reports as `cargo test` does, so that whoever adds up tests counts them too.
//!
//! ```text
//! cluster 1:  those that mind no company, some at a time ─► what is left of the others
//! cluster 2:  those that need a cluster alone, one by one ─► what is left of the others
//! ```
//! Most of a story is waiting for others to notice. A cluster that is not ours is only one.

#![expect(clippy::disallowed_types, reason = "a cluster lives in real time")]

use std::collections::{BTreeSet, VecDeque};
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use tempfile::TempDir;
use testcluster::{Deadline, Installation, Place, must_not_skip};

use crate::scene::{Scene, Skip};
use crate::world;

/// One story.
pub(crate) struct Story {
    /// A sentence about the product.
    pub(crate) name: &'static str,
    /// For all of it; each wait inside ends with it at the latest.
    pub(crate) deadline: Duration,
    pub(crate) needs: Needs,
    pub(crate) tell: fn(&mut Scene) -> Result<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Any cluster, beside other stories.
    Cluster,
    /// One with images that only our own nodes have, beside other stories.
    OwnNodes,
    /// Any cluster, all of it: the operator is installed anew, or dies.
    ClusterAlone,
    /// One whose nodes may be crashed and cut off, all of it.
    OwnNodesAlone,
}

/// Stories at a time on one cluster, of those that mind no company: more of them would wait for two cores and not for each other.
const AT_A_TIME: usize = 2;

#[derive(Debug)]
enum Ending {
    Passed,
    Failed(anyhow::Error),
    Skipped(String),
}

/// What of the arguments of a test binary means something here.
#[derive(Debug, Default)]
struct Choice {
    list: bool,
    words: Vec<String>,
    without: Vec<String>,
}

impl Choice {
    fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut choice = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => choice.list = true,
                "--skip" => choice.without.extend(arguments.next()),
                "--test-threads" | "--format" | "--color" => drop(arguments.next()),
                other if other.starts_with('-') => {} // `--nocapture` and others that change nothing here
                _word => choice.words.push(argument),
            }
        }
        choice
    }

    fn has(&self, name: &str) -> bool {
        let is_wanted = self.words.is_empty() || self.words.iter().any(|word| name.contains(word.as_str()));
        is_wanted && !self.without.iter().any(|word| name.contains(word.as_str()))
    }
}

pub(crate) fn run(all: &[Story]) -> ExitCode {
    let choice = Choice::from_arguments(env::args().skip(1));
    if choice.list {
        for story in all {
            println!("{}: test", story.name);
        }
        return ExitCode::SUCCESS;
    }
    let chosen: Vec<&Story> = all.iter().filter(|story| choice.has(story.name)).collect();
    assert_eq!(all.iter().map(|story| story.name).collect::<BTreeSet<_>>().len(), all.len(), "two stories of one name");
    println!("\nrunning {} tests", chosen.len());
    let started = Instant::now();
    let ended = if chosen.is_empty() { Vec::new() } else { tell_all(&chosen) };
    report(all.len() - chosen.len(), &ended, started.elapsed())
}

/// A story, what became of it, and how long that took.
type Ended<'a> = (&'a Story, Ending, Duration);

fn tell_all<'a>(chosen: &[&'a Story]) -> Vec<Ended<'a>> {
    let (together, alone): (VecDeque<&Story>, VecDeque<&Story>) =
        chosen.iter().partition(|story| matches!(story.needs, Needs::Cluster | Needs::OwnNodes));
    let clusters = if world::is_given() || together.is_empty() || alone.is_empty() { 1 } else { 2 };
    let queues =
        Queues { together: Mutex::new(together), alone: Mutex::new(alone), clusters: AtomicUsize::new(clusters) };
    let programs = world::programs();
    thread::scope(|scope| {
        let (queues, programs) = (&queues, &programs);
        let tellers: Vec<_> =
            (1..=clusters).map(|number| scope.spawn(move || tell_on_cluster(number, programs, queues))).collect();
        tellers.into_iter().flat_map(|teller| teller.join().expect("a story's panic is caught")).collect()
    })
}

/// Stories that nobody tells yet.
struct Queues<'a> {
    together: Mutex<VecDeque<&'a Story>>,
    alone: Mutex<VecDeque<&'a Story>>,
    /// Clusters that have begun, or may begin yet.
    clusters: AtomicUsize,
}

impl<'a> Queues<'a> {
    fn next_of(queue: &Mutex<VecDeque<&'a Story>>) -> Option<&'a Story> {
        queue.lock().expect("no story is told under the lock").pop_front()
    }
}

/// The first cluster begins with stories that mind no company, another with those that do.
fn tell_on_cluster<'a>(number: usize, programs: &Result<TempDir>, queues: &Queues<'a>) -> Vec<Ended<'a>> {
    let begin = || {
        let programs = programs.as_ref().map_err(|error| anyhow!("{error:#}"))?;
        world::begin(&Place::find()?, number, programs.path())
    };
    let why = match begin() {
        Ok(Ok(world)) => {
            let alone = || {
                let told = std::iter::from_fn(|| Queues::next_of(&queues.alone)).map(|story| tell_one(story, &world));
                told.collect::<Vec<_>>()
            };
            let first = if number == 1 { Vec::new() } else { alone() };
            let together = tell_together(&queues.together, &world);
            return first.into_iter().chain(together).chain(alone()).collect();
        }
        Ok(Err(reason)) => Ok(reason),
        Err(error) => Err(error.context(format!("cluster {number}"))),
    };
    // That is one failure. The other stories can be told on another cluster, if there is one.
    let is_last = queues.clusters.fetch_sub(1, Ordering::Relaxed) == 1;
    let left = std::iter::from_fn(|| Queues::next_of(&queues.alone).or_else(|| Queues::next_of(&queues.together)));
    left.take(if is_last { usize::MAX } else { 1 }).map(|story| all_alike(story, &why)).collect()
}

fn tell_together<'a>(queue: &Mutex<VecDeque<&'a Story>>, world: &Installation) -> Vec<Ended<'a>> {
    let told = || std::iter::from_fn(|| Queues::next_of(queue)).map(|story| tell_one(story, world)).collect::<Vec<_>>();
    thread::scope(|scope| {
        let tellers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(told)).collect();
        tellers.into_iter().flat_map(|teller| teller.join().expect("a story's panic is caught")).collect()
    })
}

fn tell_one<'a>(story: &'a Story, world: &Installation) -> Ended<'a> {
    println!("test {} ...", story.name);
    let started = Instant::now();
    let ending = match story.needs {
        Needs::OwnNodes | Needs::OwnNodesAlone if !world.cluster().is_own() => {
            skipped("the nodes of this cluster are not ours")
        }
        Needs::Cluster | Needs::OwnNodes | Needs::ClusterAlone | Needs::OwnNodesAlone => tell(story, world),
    };
    finish(story, ending, started.elapsed())
}

/// No story could begin: skipped for a reason, or failed with an error.
fn all_alike<'a>(story: &'a Story, why: &Result<String>) -> Ended<'a> {
    let ending = match why {
        Ok(reason) => skipped(reason),
        Err(error) => Ending::Failed(anyhow!("{error:#}")),
    };
    finish(story, ending, Duration::ZERO)
}

fn skipped(reason: &str) -> Ending {
    if must_not_skip() {
        Ending::Failed(anyhow!("it cannot run here: {reason}"))
    } else {
        Ending::Skipped(reason.to_owned())
    }
}

fn finish(story: &Story, ending: Ending, took: Duration) -> Ended<'_> {
    match &ending {
        Ending::Passed => println!("test {} ... ok ({:.1} s)", story.name, took.as_secs_f64()),
        Ending::Failed(error) => println!("test {} ... FAILED ({:.1} s)\n{error:#}", story.name, took.as_secs_f64()),
        Ending::Skipped(reason) => println!("test {} ... ignored, skipped: {reason}", story.name),
    }
    (story, ending, took)
}

fn tell(story: &Story, world: &Installation) -> Ending {
    let mut scene = match Scene::open(world, story.name, Deadline::after(story.deadline)) {
        Ok(scene) => scene,
        Err(error) => return Ending::Failed(error),
    };
    // A failed assertion is that story's end and nobody else's.
    let told = catch_unwind(AssertUnwindSafe(|| (story.tell)(&mut scene)));
    let told = told.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(anyhow!("panicked: {}", text.unwrap_or_default()))
    });
    match told {
        Ok(()) => match scene.close() {
            Ok(()) => Ending::Passed,
            Err(error) => Ending::Failed(error.context("the story passed and did not clean up")),
        },
        Err(error) if error.is::<Skip>() => {
            drop(scene.close());
            skipped(&error.to_string())
        }
        Err(error) => {
            scene.explain();
            drop(scene.close());
            Ending::Failed(error)
        }
    }
}

fn report(filtered: usize, ended: &[Ended<'_>], took: Duration) -> ExitCode {
    let count = |is: fn(&Ending) -> bool| ended.iter().filter(|(_, ending, _)| is(ending)).count();
    let passed = count(|ending| matches!(ending, Ending::Passed));
    let failed = count(|ending| matches!(ending, Ending::Failed(_)));
    let ignored = count(|ending| matches!(ending, Ending::Skipped(_)));
    if let Err(error) = save(ended) {
        eprintln!("{error:#}");
    }
    let verdict = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; 0 measured; {filtered} filtered out; \
         finished in {:.2}s\n",
        took.as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Every story with its time, beside what benches write.
fn save(ended: &[Ended<'_>]) -> Result<()> {
    let folder = Place::find()?.repository().join("target/e2e");
    fs::create_dir_all(&folder).with_context(|| format!("failed to create {}", folder.display()))?;
    let rows: Vec<_> = ended
        .iter()
        .map(|(story, ending, took)| {
            let (ending, reason) = match ending {
                Ending::Passed => ("passed", None),
                Ending::Failed(error) => ("failed", Some(format!("{error:#}"))),
                Ending::Skipped(reason) => ("skipped", Some(reason.clone())),
            };
            json!({ "story": story.name, "ending": ending, "reason": reason, "seconds": took.as_secs_f64() })
        })
        .collect();
    let text = serde_json::to_string_pretty(&rows).context("failed to encode the report")?;
    fs::write(folder.join("stories.json"), text + "\n").context("failed to write the report")
}
