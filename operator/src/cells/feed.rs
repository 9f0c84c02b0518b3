//! Follows one cell and wakes those whose numbers changed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crd::{Corpus, YaraRuleset};
use kube::runtime::reflector::ObjectRef;
use protocol::v1;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};
use tracing::{debug, info};

use super::{
    cell::{Cell, Error, Seen, Sighting},
    speed::Speed,
};

/// The leader repeats a watch at most this often.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// A watch without any change is silent; after so long it is asked for again, as its connection may be dead.
const WATCH_SILENCE: Duration = Duration::from_secs(60);
/// How often corpora are asked for; each listing changes them, and nothing watches them.
const CORPORA_INTERVAL: Duration = Duration::from_secs(5);
/// Wake-ups go out once in this time,
const TICK: Duration = Duration::from_secs(1);
/// at most so many of a kind: that bounds what a thousand hunting rulesets write to the Kubernetes API. What waits
/// longest goes first. A hunt that has ended, or begun, does not wait.
const WAKES_PER_TICK: usize = 20;
/// After the connection broke, before the next try.
const PAUSE: Duration = Duration::from_secs(2);
/// A leader without an answer for so long is not there, and what was seen of it is not true any more.
const STALE: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(super) struct Senders {
    pub(super) ruleset: mpsc::Sender<ObjectRef<YaraRuleset>>,
    pub(super) corpus: mpsc::Sender<ObjectRef<Corpus>>,
}

/// Ends when the cell is closed, or nobody listens any more.
pub(super) async fn follow(cell: Arc<Cell>, senders: Senders) {
    let mut feed =
        Feed { cell: Arc::clone(&cell), senders, seen: Seen::default(), speeds: BTreeMap::new(), due: Due::default() };
    info!(cell = %cell.key(), "following an orchestrator");
    tokio::select! {
        () = cell.until_closed() => {}
        () = feed.run() => {}
    }
    cell.see(None);
    info!(cell = %cell.key(), "not following an orchestrator any more");
}

struct Feed {
    cell: Arc<Cell>,
    senders: Senders,
    seen: Seen,
    speeds: BTreeMap<(u32, u32), (u32, Speed)>,
    due: Due,
}

/// Who is to be woken, those who wait longest first.
#[derive(Default)]
struct Due {
    rulesets: Queue,
    corpora: Queue,
}

#[derive(Default)]
struct Queue {
    now: BTreeSet<String>,
    later: Vec<String>,
}

impl Queue {
    fn add(&mut self, name: &str, at_once: bool) {
        if at_once {
            self.now.insert(name.to_owned());
            self.later.retain(|waiting| waiting != name);
        } else if !self.now.contains(name) && !self.later.iter().any(|waiting| waiting == name) {
            self.later.push(name.to_owned());
        }
    }

    fn take(&mut self) -> Vec<String> {
        let mut names: Vec<_> = std::mem::take(&mut self.now).into_iter().collect();
        names.extend(self.later.drain(..self.later.len().min(WAKES_PER_TICK)));
        names
    }
}

impl Feed {
    async fn run(&mut self) {
        let mut last_answer = Instant::now();
        loop {
            match self.cell.watch_hunts(WATCH_INTERVAL).await {
                Ok(stream) => self.through(stream, &mut last_answer).await,
                Err(error) => debug!(cell = %self.cell.key(), %error, "cannot watch hunts"),
            }
            if last_answer.elapsed() > STALE && self.cell.seen().is_some() {
                self.cell.see(None);
                // Everybody is to say that nobody knows.
                self.seen.hunts.keys().for_each(|name| self.due.rulesets.add(name, false));
                self.seen.corpora.keys().for_each(|name| self.due.corpora.add(name, false));
                self.seen = Seen::default();
            }
            self.wake().await;
            sleep(PAUSE).await;
        }
    }

    /// Until the stream ends or breaks.
    async fn through(&mut self, mut stream: tonic::Streaming<v1::ListHuntsResponse>, last_answer: &mut Instant) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut corpora_at = Instant::now();
        loop {
            tokio::select! {
                message = timeout(WATCH_SILENCE, stream.message()) => match message {
                    Ok(Ok(Some(answer))) => {
                        *last_answer = Instant::now();
                        if self.see_hunts(answer.hunts) {
                            // Files came or were scanned: the corpora have something to tell, too.
                            corpora_at = corpora_at.min(Instant::now() + TICK);
                        }
                    }
                    // The connection broke, another member leads now, or nothing happens: ask anew.
                    Ok(Ok(None) | Err(_)) | Err(_) => return,
                },
                () = sleep_until(corpora_at) => {
                    corpora_at = Instant::now() + CORPORA_INTERVAL;
                    match self.cell.corpora().await {
                        Ok(corpora) => {
                            *last_answer = Instant::now();
                            self.see_corpora(corpora);
                        }
                        Err(Error::Unreachable(_)) => return,
                        Err(Error::Refused { message, .. }) => {
                            debug!(cell = %self.cell.key(), message, "cannot list corpora");
                        }
                    }
                }
                _ = tick.tick() => self.wake().await,
            }
        }
    }

    /// True if anybody has something new to tell.
    fn see_hunts(&mut self, hunts: Vec<v1::Hunt>) -> bool {
        let now = Instant::now();
        let mut by_ruleset: BTreeMap<String, Vec<Sighting>> = BTreeMap::new();
        let mut live = BTreeSet::new();
        for hunt in hunts {
            let Some(name) = hunt.ruleset.as_ref().map(|key| key.name.clone()) else { continue };
            let place = (hunt.ruleset_id, hunt.corpus_id);
            live.insert(place);
            let version = hunt.version.as_ref().and_then(|it| it.version.as_ref()).map_or(0, |version| version.number);
            let (of, speed) = self.speeds.entry(place).or_default();
            if *of != version {
                (*of, *speed) = (version, Speed::default());
            }
            let answered = hunt.stored_files.saturating_sub(hunt.pending_files);
            speed.note(now, answered);
            let left = (hunt.pending_files > 0).then(|| speed.time_for(hunt.pending_files)).flatten();
            by_ruleset.entry(name).or_default().push(Sighting { hunt, left });
        }
        self.speeds.retain(|place, _| live.contains(place));
        let before = std::mem::replace(&mut self.seen.hunts, by_ruleset);
        let names: BTreeSet<_> = before.keys().chain(self.seen.hunts.keys()).collect();
        let mut has_news = false;
        for name in names {
            let (old, new) = (before.get(name), self.seen.hunts.get(name));
            if let Some(at_once) = news(old, new) {
                self.due.rulesets.add(name, at_once);
                has_news = true;
            }
        }
        self.cell.see(Some(self.seen.clone()));
        has_news
    }

    fn see_corpora(&mut self, corpora: BTreeMap<String, v1::Corpus>) {
        let before = std::mem::replace(&mut self.seen.corpora, corpora);
        let names: BTreeSet<_> = before.keys().chain(self.seen.corpora.keys()).collect();
        for name in names {
            let (old, new) = (before.get(name), self.seen.corpora.get(name));
            let shown = |corpus: Option<&v1::Corpus>| {
                // What changes with each listing although nothing did.
                corpus.map(|it| v1::Corpus {
                    last_listed_at_ms: it.last_listed_at_ms.map(|_| 0),
                    listing_now: false,
                    ..it.clone()
                })
            };
            if shown(old) != shown(new) {
                self.due.corpora.add(name, old.is_none() != new.is_none());
            }
        }
        self.cell.see(Some(self.seen.clone()));
    }

    async fn wake(&mut self) {
        let namespace = self.cell.key().namespace.clone();
        for name in self.due.rulesets.take() {
            let _ = self.senders.ruleset.send(ObjectRef::new(&name).within(&namespace)).await;
        }
        for name in self.due.corpora.take() {
            let _ = self.senders.corpus.send(ObjectRef::new(&name).within(&namespace)).await;
        }
    }
}

/// Whether there is something new to tell of a ruleset, and whether at once. `None`: nothing.
fn news(old: Option<&Vec<Sighting>>, new: Option<&Vec<Sighting>>) -> Option<bool> {
    let (Some(old), Some(new)) = (old, new) else { return Some(true) };
    let told = |sighting: &Sighting| {
        let v1::Hunt { state, version, stored_files, outcomes, pending_files, findings, listing_error, .. } =
            &sighting.hunt;
        (*state, version.clone(), *stored_files, *outcomes, *pending_files, *findings, listing_error.clone())
    };
    let turned = |sightings: &[Sighting]| -> Vec<_> {
        sightings.iter().map(|it| (it.hunt.corpus_id, it.hunt.state, it.hunt.version.clone())).collect()
    };
    match (turned(old) == turned(new), old.iter().map(told).eq(new.iter().map(told))) {
        (true, true) => None,
        (true, false) => Some(false),
        (false, _) => Some(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sighting(pending: u64, state: v1::HuntState) -> Vec<Sighting> {
        let hunt = v1::Hunt { stored_files: 10, pending_files: pending, state: state.into(), ..v1::Hunt::default() };
        vec![Sighting { hunt, left: Some(Duration::from_secs(pending)) }]
    }

    #[test]
    fn what_moves_waits_its_turn_and_what_turns_does_not() {
        let (running, done) = (v1::HuntState::Running, v1::HuntState::CaughtUp);
        let told = |old: &Vec<Sighting>, new: &Vec<Sighting>| news(Some(old), Some(new));
        assert_eq!(told(&sighting(5, running), &sighting(5, running)), None);
        assert_eq!(told(&sighting(5, running), &sighting(4, running)), Some(false));
        assert_eq!(told(&sighting(1, running), &sighting(0, done)), Some(true));
        assert_eq!(news(None, Some(&sighting(5, running))), Some(true));
        let mut later = sighting(5, running);
        later[0].left = None;
        assert_eq!(told(&sighting(5, running), &later), None, "only the estimate changed");
    }

    #[test]
    fn wakes_are_bounded_and_nobody_waits_twice() {
        let mut queue = Queue::default();
        for number in 0..50 {
            queue.add(&format!("r{number:02}"), false);
            queue.add(&format!("r{number:02}"), false);
        }
        queue.add("r49", true);
        let first = queue.take();
        assert_eq!((first.len(), first[0].as_str(), first[1].as_str()), (21, "r49", "r00"));
        assert_eq!((queue.take().len(), queue.take().len(), queue.take().len()), (20, 9, 0));
    }
}
