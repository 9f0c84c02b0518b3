//! Runs stories on one cluster, some at a time, and reports as `cargo test` does, so that whoever adds up tests counts them too.

#![expect(clippy::disallowed_types, reason = "a cluster lives in real time")]

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::json;
use testcluster::{Deadline, Installation, Place, must_not_skip};

use crate::scene::Scene;
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

/// Stories at a time, of those that mind no company: more of them would wait for two cores and not for each other.
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
    let place = Place::find();
    let world = match place.and_then(|place| world::begin(&place)) {
        Ok(Ok(world)) => world,
        Ok(Err(reason)) => return chosen.iter().map(|story| all_alike(story, &Ok(reason.clone()))).collect(),
        Err(error) => return chosen.iter().map(|story| all_alike(story, &Err(format!("{error:#}")))).collect(),
    };
    let (together, alone): (Vec<&Story>, Vec<&Story>) =
        chosen.iter().partition(|story| matches!(story.needs, Needs::Cluster | Needs::OwnNodes));
    let mut ended = tell_together(&together, &world);
    ended.extend(alone.into_iter().map(|story| tell_one(story, &world)));
    ended
}

fn tell_together<'a>(stories: &[&'a Story], world: &Installation) -> Vec<Ended<'a>> {
    let queue = Mutex::new(stories.iter().copied());
    let next = || queue.lock().expect("no story is told under the lock").next();
    thread::scope(|scope| {
        let tellers: Vec<_> = (0..AT_A_TIME)
            .map(|_| scope.spawn(|| std::iter::from_fn(next).map(|story| tell_one(story, world)).collect::<Vec<_>>()))
            .collect();
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
fn all_alike<'a>(story: &'a Story, why: &Result<String, String>) -> Ended<'a> {
    let ending = match why {
        Ok(reason) => skipped(reason),
        Err(error) => Ending::Failed(anyhow!(error.clone())),
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
