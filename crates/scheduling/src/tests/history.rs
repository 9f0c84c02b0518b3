//! Random histories. A step is a kind and a seed; what it means is chosen from the state it meets, so most
//! commands are meaningful, and the concrete commands are written down so that a failure can become a story.

use std::collections::VecDeque;

use types::{
    CorpusId, CorpusSelection, CorpusSpec, Digest, Exception, FileOrdinal, LeaseId, MAX_SEGMENT_FILES, Name, RulesetId,
    RulesetVersion, SegmentDescriptor, SegmentOrdinal, SessionId, Skipped, Timestamp,
};

use super::story::{corpus_key, ruleset_key};
use crate::{
    Command, FreeSlots, Grant, ListingResult, Planner, Priority, Reservations, RulesetResult, RulesetState, ScanDone,
    Stamp, State, Target, Verdict, Work,
};

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    PutCorpus,
    DeleteCorpus,
    Push,
    SetState,
    Open,
    End,
    Plan,
    Commit,
    GrantSpoiled,
    SettleScan,
    SettleListing,
    SettleDead,
    AllocateNode,
}

/// How a history decides: a stream of numbers from one seed (splitmix64; Steele, Lea and Flood, OOPSLA 2014).
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u32) -> u32 {
        u32::try_from(self.roll() % u64::from(bound)).unwrap()
    }

    fn one_in(&mut self, count: u32) -> bool {
        self.below(count) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let count = u32::try_from(from.len()).unwrap();
        (count > 0).then(|| from[self.below(count) as usize].clone())
    }
}

/// The part of a history that outlives a step: the leader's planner, its grants in flight, its clock.
pub(super) struct Leader {
    planner: Planner,
    reservations: Reservations,
    in_flight: VecDeque<Vec<Grant>>,
    ended: Vec<LeaseId>,
    index: u64,
    at: Timestamp,
}

impl Leader {
    pub(super) fn new() -> Self {
        Self {
            planner: Planner::default(),
            reservations: Reservations::default(),
            in_flight: VecDeque::new(),
            ended: Vec::new(),
            index: 0,
            at: Timestamp(10_000),
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        self.at
    }

    /// Live sessions and leases are read from `state`; ended leases are remembered for settling them too late.
    pub(super) fn step(&mut self, state: &State, kind: Kind, seed: u64) -> (Stamp, Command) {
        let dice = &mut Dice(seed);
        self.ended.extend(state.leases().map(|(id, _)| id));
        self.index += 1 + u64::from(dice.below(2));
        self.at = match dice.below(60) {
            0 => Timestamp(self.at.0.saturating_sub(5_000)), // another leader, with a slow clock
            1 => self.at.plus_ms(100_000),
            n => self.at.plus_ms(u64::from(n) * 30),
        };
        let command = self.command(state, kind, dice);
        let stamp = Stamp { index: self.index, at: self.at, first_slot: dice.below(3) };
        (stamp, command)
    }

    fn command(&mut self, state: &State, kind: Kind, dice: &mut Dice) -> Command {
        match kind {
            Kind::PutCorpus => put_corpus(dice),
            Kind::DeleteCorpus => {
                Command::DeleteCorpus { key: corpus_key(dice.pick(&["a/x", "a/y", "b/x", "b/y"]).unwrap()) }
            }
            Kind::Push => push(dice),
            Kind::SetState => set_state(dice),
            Kind::Open => open(dice),
            Kind::End => end(state, dice),
            Kind::Plan if state.sessions().next().is_none() => open(dice),
            Kind::Plan => self.plan(state, dice),
            Kind::Commit => self.commit_next(dice),
            Kind::GrantSpoiled => self.spoiled(state, dice),
            Kind::SettleScan => settle_scan(state, dice).unwrap_or_else(|| self.plan(state, dice)),
            Kind::SettleListing => settle_listing(state, dice).unwrap_or_else(|| self.plan(state, dice)),
            Kind::SettleDead => self.settle_dead(dice),
            Kind::AllocateNode => Command::AllocateNode,
        }
    }

    /// Plans ahead of commit: most plans commit at once, some wait while other entries pass them.
    fn plan(&mut self, state: &State, dice: &mut Dice) -> Command {
        let free: Vec<_> = state.sessions().map(|(session, _)| FreeSlots { session, slots: dice.below(4) }).collect();
        let grants = self.planner.plan(state, &self.reservations, self.at, &free);
        if grants.is_empty() && self.in_flight.is_empty() {
            return settle_listing(state, dice).unwrap_or_else(|| push(dice)); // nothing owed: make some work
        }
        for grant in &grants {
            self.reservations.reserve(&grant.work);
        }
        self.in_flight.push_back(grants);
        if dice.one_in(5) { Command::EndSessions { sessions: Vec::new() } } else { self.commit_next(dice) }
    }

    fn commit_next(&mut self, dice: &mut Dice) -> Command {
        let Some(grants) = self.in_flight.pop_front() else {
            return open(dice);
        };
        for grant in &grants {
            self.reservations.release(&grant.work);
        }
        Command::GrantLeases { grants }
    }

    fn spoiled(&mut self, state: &State, dice: &mut Dice) -> Command {
        let sessions: Vec<_> = state.sessions().map(|(session, _)| session).collect();
        let Some(session) = dice.pick(&sessions) else {
            return open(dice);
        };
        let free = [FreeSlots { session, slots: 3 }];
        let mut grants = self.planner.clone().plan(state, &Reservations::default(), self.at, &free);
        if let Some(first) = grants.first().cloned() {
            grants.push(first); // a duplicate
        }
        for grant in &mut grants {
            spoil(grant, state, dice);
        }
        Command::GrantLeases { grants }
    }

    fn settle_dead(&mut self, dice: &mut Dice) -> Command {
        let unknown = LeaseId { index: u64::MAX, slot: u32::MAX };
        let lease = dice.pick(&self.ended).unwrap_or(unknown);
        let result =
            |to| RulesetResult { ruleset: RulesetId(1), to: RulesetVersion(to), verdict: verdict(dice_files(1), 0) };
        match dice.below(3) {
            0 => Command::SettleAttempt { lease, results: vec![result(1), result(2)] },
            1 => Command::AppendSegments { lease, segments: vec![segment(dice)], gone: Vec::new() },
            _ => Command::SettleListing { lease, result: ListingResult::Done { skipped: Skipped::default() } },
        }
    }
}

fn spoil(grant: &mut Grant, state: &State, dice: &mut Dice) {
    if dice.one_in(16) {
        grant.session = SessionId { index: dice.roll(), slot: 0 };
    }
    let Work::Scan { corpus, segment, targets } = &mut grant.work else {
        return;
    };
    match dice.below(9) {
        0 => *corpus = CorpusId(dice.pick(&[0, 1, 2, 3, u32::MAX]).unwrap()),
        1 => *segment = SegmentOrdinal(dice.pick(&[0, 1, 2, u32::MAX]).unwrap()),
        2 => targets.clear(),
        3 => targets.extend(targets.clone()),
        4 => targets.reverse(),
        5 => {
            targets.pop();
        }
        6 => targets.iter_mut().for_each(|target| target.to = RulesetVersion(dice.pick(&[0, 1, 2, u32::MAX]).unwrap())),
        7 => targets.iter_mut().for_each(|target| target.from = Some(target.to)),
        _ => {
            let ids: Vec<_> = state.rulesets().map(|(id, _)| id).chain([RulesetId(u32::MAX)]).collect();
            let ruleset = dice.pick(&ids).unwrap();
            targets.push(Target { ruleset, from: None, to: RulesetVersion(1) });
        }
    }
}

fn put_corpus(dice: &mut Dice) -> Command {
    let key = dice.pick(&["a/x", "a/y", "b/x"]).unwrap();
    let url = if dice.one_in(12) { String::new() } else { format!("file:///{}", dice.below(12) / 11) };
    let listing_interval_ms = dice.pick(&[0, 3_000, 20_000, 60_000, 60_000, u64::MAX]).unwrap();
    let spec = CorpusSpec {
        url,
        max_file_bytes: dice.roll(),
        listing_interval_ms,
        datasets: Vec::new(),
        include: Vec::new(),
        exclude: Vec::new(),
    };
    Command::PutCorpus { key: corpus_key(key), spec }
}

fn push(dice: &mut Dice) -> Command {
    let key = dice.pick(&["a/r", "a/s", "a/t", "b/r"]).unwrap();
    let mask = dice.below(32);
    let mut units: Vec<_> = (0..5_u8).filter(|bit| mask & (1 << bit) != 0).map(|bit| Digest::of(&[bit])).collect();
    units.sort();
    if dice.one_in(15) {
        units.reverse();
    }
    let corpora = match dice.below(6) {
        0 => CorpusSelection::Named([Name::new("x").unwrap()].into()),
        1 => CorpusSelection::Named([Name::new("y").unwrap(), Name::new("nowhere").unwrap()].into()),
        _ => CorpusSelection::All,
    };
    let digest = Digest::of(&mask.to_le_bytes());
    let priority = dice.pick(&[Priority::Sweep, Priority::Sweep, Priority::Urgent, Priority::Background]).unwrap();
    Command::PutRuleset { key: ruleset_key(key), digest, units, corpora, source_bytes: u64::from(mask), priority }
}

fn set_state(dice: &mut Dice) -> Command {
    let key = dice.pick(&["a/r", "a/s", "a/t", "b/r", "b/s"]).unwrap();
    let active = RulesetState::Active;
    let state = dice.pick(&[active, active, active, RulesetState::Paused, RulesetState::Retired]).unwrap();
    Command::SetRulesetState { key: ruleset_key(key), state }
}

fn open(dice: &mut Dice) -> Command {
    let length = dice.pick(&[1, 2, 3, 4, 5, 6, 7, 8, 253, 254, 0]).unwrap();
    Command::OpenSession { worker: "w".repeat(length) }
}

fn end(state: &State, dice: &mut Dice) -> Command {
    let live: Vec<_> = state.sessions().map(|(session, _)| session).collect();
    let mut sessions: Vec<_> = (0..=dice.below(2)).filter_map(|_| dice.pick(&live)).collect();
    if dice.one_in(6) {
        sessions.push(SessionId { index: 0, slot: u32::MAX });
    }
    Command::EndSessions { sessions }
}

fn settle_scan(state: &State, dice: &mut Dice) -> Option<Command> {
    let live: Vec<_> = state.leases().filter(|(_, lease)| matches!(lease.work, Work::Scan { .. })).collect();
    let (id, lease) = dice.pick(&live)?;
    let Work::Scan { corpus, segment, targets } = &lease.work else {
        return None;
    };
    let files = state.corpus(*corpus)?.segment(*segment)?.files;
    let mut results = Vec::new();
    for Target { ruleset, to, .. } in targets {
        let result = RulesetResult { ruleset: *ruleset, to: *to, verdict: verdict_of(files, dice) };
        match dice.below(24) {
            0 => {} // given back
            1 => results.extend([result.clone(), result]),
            2 => results.push(RulesetResult { ruleset: RulesetId(dice.below(6)), ..result }),
            3 => results.push(RulesetResult { to: RulesetVersion(dice.below(4)), ..result }),
            _ => results.push(result),
        }
    }
    Some(Command::SettleAttempt { lease: id, results })
}

fn verdict_of(files: u32, dice: &mut Dice) -> Verdict {
    match dice.below(16) {
        0..3 => Verdict::Failed { reason: "x".repeat(dice.below(2) as usize * 600) },
        3 => Verdict::Hindered { reason: "storage away".to_owned() },
        4 => verdict(malformed(files, dice), dice.roll()),
        _ => verdict(fitting(files, dice), u64::from(dice.below(1_000))),
    }
}

type Files = (u32, u32, Vec<(u32, Exception)>);

fn verdict((matched, findings, excepted): Files, scanned_bytes: u64) -> Verdict {
    let excepted = excepted.into_iter().map(|(file, exception)| (FileOrdinal(file), exception)).collect();
    Verdict::Done(ScanDone { matched, findings, excepted, scanned_bytes })
}

fn dice_files(matched: u32) -> Files {
    (matched, matched, Vec::new())
}

fn fitting(files: u32, dice: &mut Dice) -> Files {
    let mut excepted = Vec::new();
    for file in 0..files.min(20) {
        if dice.one_in(10) {
            excepted.push((file, dice.pick(&Exception::ALL).unwrap()));
        }
    }
    let matched = if dice.one_in(2) { 0 } else { dice.below(files + 1 - u32::try_from(excepted.len()).unwrap()) };
    (matched, matched + dice.below(2) * matched, excepted)
}

fn malformed(files: u32, dice: &mut Dice) -> Files {
    let gone = |file| (file, Exception::Gone);
    match dice.below(6) {
        0 => (files + 1, files + 1, vec![]),
        1 => (u32::MAX, u32::MAX, vec![gone(0)]),
        2 => (0, 0, vec![gone(files)]),
        3 => (0, 0, vec![gone(0), gone(0)]),
        4 => (0, 0, vec![gone(u32::MAX), gone(0)]),
        _ => (1, 0, vec![]),
    }
}

fn settle_listing(state: &State, dice: &mut Dice) -> Option<Command> {
    let live: Vec<_> = state.leases().filter(|(_, lease)| matches!(lease.work, Work::List { .. })).collect();
    let (lease, _) = dice.pick(&live)?;
    Some(match dice.below(7) {
        0 => Command::SettleListing { lease, result: ListingResult::Failed { reason: "no bucket".to_owned() } },
        1..4 => {
            let skipped = Skipped { special: dice.roll(), vanished: dice.roll(), ..Skipped::default() };
            Command::SettleListing { lease, result: ListingResult::Done { skipped } }
        }
        _ => Command::AppendSegments {
            lease,
            segments: (0..=dice.below(5)).map(|_| segment(dice)).collect(),
            gone: (0..dice.below(3)).map(|_| gone(dice)).collect(),
        },
    })
}

/// One of few, so that the same one comes again.
fn segment(dice: &mut Dice) -> SegmentDescriptor {
    let manifest = Digest::of(&dice.below(30).to_le_bytes());
    let files = match dice.below(40) {
        0 => dice.pick(&[0, 4097, u32::MAX]).unwrap(),
        1 => u32::try_from(MAX_SEGMENT_FILES).unwrap(),
        _ => 1 + dice.below(12),
    };
    let bytes = if dice.one_in(30) { u64::MAX } else { u64::from(dice.below(1 << 28)) };
    SegmentDescriptor { manifest, files, bytes }
}

fn gone(dice: &mut Dice) -> (SegmentOrdinal, Vec<FileOrdinal>) {
    let segment = if dice.one_in(10) { u32::MAX } else { dice.below(8) };
    let files = (0..dice.below(4)).map(|_| if dice.one_in(10) { u32::MAX } else { dice.below(12) });
    (SegmentOrdinal(segment), files.map(FileOrdinal).collect())
}
