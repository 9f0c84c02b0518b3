//! What a client or worker can send must be refused or survived: a panic would stop every replica.

use types::{
    CorpusId, CorpusSelection, CorpusSpec, Digest, FileOrdinal, LeaseId, Name, NodeId, RulesetId, SegmentDescriptor,
    SegmentOrdinal, SessionId, Skipped, Timestamp,
};

use crate::{
    Command, Event, FreeSlots, Grant, ListingResult, MAX_GRANTS_PER_COMMAND, Planner, Refusal, RulesetResult, ScanDone,
    Stamp, State, Verdict, Work,
    tests::story::{Story, clean, corpus_key, failed, push, ruleset_key, scan, target},
};

const NOBODY: SessionId = SessionId { index: u64::MAX, slot: u32::MAX };
const NOTHING: LeaseId = LeaseId { index: u64::MAX, slot: u32::MAX };

#[test]
fn unknown_ids_are_refused_everywhere() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let session = story.session("a");
    let unknown = RulesetId(u32::MAX);
    let one = [target(rules, None, 1)];
    for (session, work, refusal) in [
        (NOBODY, scan(corpus, 0, &one), Refusal::SessionNotLive),
        (session, scan(CorpusId(0), 0, &one), Refusal::UnknownCorpus),
        (session, scan(CorpusId(u32::MAX), 0, &one), Refusal::UnknownCorpus),
        (session, scan(corpus, 1, &one), Refusal::NotOwed),
        (session, scan(corpus, u32::MAX, &one), Refusal::NotOwed),
        (session, scan(corpus, 0, &[target(unknown, None, 1)]), Refusal::UnknownRuleset),
        (session, scan(corpus, 0, &[target(RulesetId(0), None, 1)]), Refusal::UnknownRuleset),
        (session, scan(corpus, 0, &[target(rules, None, 0)]), Refusal::NotOwed),
        (session, scan(corpus, 0, &[target(rules, None, u32::MAX)]), Refusal::NotOwed),
        (session, scan(corpus, 0, &[target(rules, Some(u32::MAX), 1)]), Refusal::NotOwed),
        (session, Work::List { corpus: CorpusId(0) }, Refusal::UnknownCorpus),
    ] {
        assert_eq!(story.refusal(Command::GrantLeases { grants: vec![Grant { session, work }] }), refusal);
    }
    let settle = Command::SettleAttempt { lease: NOTHING, results: Vec::new() };
    assert_eq!(story.refusal(settle), Refusal::LeaseNotLive);
    let append = Command::AppendSegments { lease: NOTHING, segments: Vec::new(), gone: Vec::new() };
    assert_eq!(story.refusal(append), Refusal::LeaseNotLive);
    let result = ListingResult::Done { skipped: Skipped::default() };
    assert_eq!(story.refusal(Command::SettleListing { lease: NOTHING, result }), Refusal::LeaseNotLive);
    story.tell(Command::EndSessions { sessions: vec![NOBODY] });
    story.expect_nothing_more();
}

#[test]
fn malformed_jobs_are_refused() {
    let (mut story, corpus, first) = Story::of_segments(1);
    let second = story.push("more", &["b"]);
    let session = story.session("a");
    let [one, two] = [first, second].map(|ruleset| target(ruleset, None, 1));
    for targets in [vec![], vec![two, one], vec![one, one]] {
        let grants = vec![Grant { session, work: scan(corpus, 0, &targets) }];
        assert!(matches!(story.refusal(Command::GrantLeases { grants }), Refusal::Malformed { .. }));
    }
    let half_owed = vec![one, target(second, Some(1), 1)];
    let grants = vec![Grant { session, work: scan(corpus, 0, &half_owed) }];
    assert_eq!(story.refusal(Command::GrantLeases { grants }), Refusal::NotOwed, "a job is granted whole or not");
}

#[test]
fn malformed_names_and_sources_are_refused() {
    let mut story = Story::new();
    for url in [String::new(), "x".repeat(2049)] {
        let spec = CorpusSpec {
            url,
            max_file_bytes: 0,
            listing_interval_ms: 0,
            datasets: Vec::new(),
            include: Vec::new(),
            exclude: Vec::new(),
        };
        let put = Command::PutCorpus { key: corpus_key("files"), spec };
        assert!(matches!(story.refusal(put), Refusal::Malformed { .. }));
    }
    let name = |number: usize| Name::new(format!("d{number}")).unwrap();
    for datasets in [vec![name(1), name(1)], (0..17).map(name).collect()] {
        let spec = CorpusSpec {
            url: "file:///x".to_owned(),
            max_file_bytes: 0,
            listing_interval_ms: 0,
            datasets,
            include: Vec::new(),
            exclude: Vec::new(),
        };
        let put = Command::PutCorpus { key: corpus_key("files"), spec };
        assert!(matches!(story.refusal(put), Refusal::Malformed { .. }));
    }
    for worker in [String::new(), "x".repeat(254)] {
        assert!(matches!(story.refusal(Command::OpenSession { worker }), Refusal::Malformed { .. }));
    }
    let mut units = [Digest::of(b"a"), Digest::of(b"b")];
    units.sort();
    for units in [vec![], vec![units[1], units[0]], vec![units[0], units[0]]] {
        let (key, digest, corpora) = (ruleset_key("rules"), Digest::of(b""), CorpusSelection::All);
        let put =
            Command::PutRuleset { key, digest, units, corpora, source_bytes: u64::MAX, priority: Default::default() };
        assert!(matches!(story.refusal(put), Refusal::Malformed { .. }));
    }
    assert_eq!(story.state.rulesets().count(), 0);
}

#[test]
fn byte_sums_stop_at_the_largest_number() {
    let (mut story, corpus, rules) = Story::of_segments(0);
    let listing = story.begin_listing(corpus);
    let segments: Vec<_> =
        (0..3_u8).map(|n| SegmentDescriptor { manifest: Digest::of(&[n]), files: 4096, bytes: u64::MAX }).collect();
    story.tell(Command::AppendSegments { lease: listing.lease, segments, gone: Vec::new() });
    story.end_listing(&listing);
    let done = ScanDone { matched: 4096, findings: u32::MAX, excepted: Vec::new(), scanned_bytes: u64::MAX };
    for job in story.grant_many("a", 3) {
        story.settle(&job, &Verdict::Done(done.clone()));
    }
    let hunt = story.hunt(corpus, rules, 1);
    assert_eq!((hunt.stored_bytes, hunt.done_bytes, hunt.scanned_bytes), (u64::MAX, u64::MAX, u64::MAX));
    assert_eq!((hunt.findings, hunt.outcomes.matched), (3 * u64::from(u32::MAX), 3 * 4096));
    assert!(hunt.caught_up_at.is_some());
}

#[test]
fn the_end_of_time_is_survived() {
    let mut story = Story::new();
    story.wait_ms(u64::MAX);
    let corpus = story.put_corpus_listed_every("files", u64::MAX);
    let rules = story.push("rules", &["a"]);
    story.list(corpus, &[1]);
    for _ in 0..3 {
        let job = story.grant_to("a").expect("time can go no further, so nothing waits");
        if matches!(job.work, Work::List { .. }) {
            let result = ListingResult::Failed { reason: String::new() };
            story.tell(Command::SettleListing { lease: job.lease, result });
        } else {
            story.settle(&job, &failed());
        }
    }
    assert_eq!(story.state.now(), Timestamp(u64::MAX));
    assert!(story.hunt(corpus, rules, 1).pending_files <= 1);
}

#[test]
fn a_slow_clock_does_not_move_time_back() {
    let mut state = State::default();
    for (index, at, now) in [(1, 50, 50), (2, 10, 50), (3, 60, 60), (4, 0, 60)] {
        state.apply(Stamp { index, at: Timestamp(at), first_slot: 0 }, Command::AllocateNode);
        assert_eq!(state.now(), Timestamp(now));
    }
}

#[test]
fn node_ids_are_never_used_twice() {
    let mut story = Story::new();
    for _ in 0..3 {
        story.tell(Command::AllocateNode);
    }
    story.expect([2, 3, 4].map(|node| Event::NodeAllocated { node: NodeId(node) }));
}

#[test]
fn too_many_grants_in_one_command_are_refused() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let session = story.session("a");
    let grant = Grant { session, work: scan(corpus, 0, &[target(rules, None, 1)]) };
    let grants = vec![grant.clone(); MAX_GRANTS_PER_COMMAND + 1];
    assert!(matches!(story.refusal(Command::GrantLeases { grants }), Refusal::Malformed { .. }));
    let grants = vec![grant; MAX_GRANTS_PER_COMMAND];
    assert_eq!(Command::GrantLeases { grants: grants.clone() }.slots(), 4096);
    assert_eq!(story.commit(Command::GrantLeases { grants }).len(), 4096);
    assert_eq!(story.state.leases().count(), 1);
}

#[test]
fn an_entry_that_has_used_up_its_slots_is_refused() {
    let (mut story, corpus, rules) = Story::of_segments(2);
    let session = story.session("a");
    let grants: Vec<_> =
        [0, 1].map(|segment| Grant { session, work: scan(corpus, segment, &[target(rules, None, 1)]) }).into();
    let mut apply = |first_slot, grants| {
        let stamp = Stamp { index: 1_000, at: story.now(), first_slot };
        story.state.apply(stamp, Command::GrantLeases { grants })
    };
    let refused = apply(u32::MAX, grants.clone());
    assert!(matches!(refused.as_slice(), [Event::Refused { refusal: Refusal::Malformed { .. } }]), "{refused:?}");
    let events = apply(u32::MAX - 2, grants);
    assert!(events.iter().all(|event| matches!(event, Event::LeaseGranted { .. })), "{events:?}");
}

#[test]
fn a_worker_that_asks_for_everything_gets_no_more_than_one_command_holds() {
    let (mut story, corpus, _) = Story::of_segments(0);
    story.list(corpus, &[1; 5_000]);
    let session = story.session("a");
    let free = [FreeSlots { session, slots: u32::MAX }; 2];
    let grants = Planner::default().plan(&story.state, &Default::default(), story.now(), &free);
    assert_eq!(grants.len(), MAX_GRANTS_PER_COMMAND);
}

#[test]
fn a_settlement_full_of_rubbish_ends_the_lease_and_nothing_else() {
    let (mut story, corpus, rules) = Story::of_segments(1);
    let job = story.grant_to("a").unwrap();
    let mut results = Vec::new();
    for number in [0, 1, 2, u32::MAX] {
        for to in [0, 2, u32::MAX] {
            let to = types::RulesetVersion(to);
            results.push(RulesetResult { ruleset: RulesetId(number), to, verdict: clean() });
        }
    }
    story.tell(Command::SettleAttempt { lease: job.lease, results });
    story.expect([Event::LeaseEnded { lease: job.lease, session: job.session }]);
    assert_eq!(story.receipt(corpus, rules, 1).total(), 0);
}

#[test]
fn gone_files_that_never_were_leave_no_trace() {
    let (mut story, corpus, _) = Story::of_segments(1);
    let listing = story.begin_listing(corpus);
    let gone = (0..50).map(|segment| (SegmentOrdinal(segment + 1), vec![FileOrdinal(0)])).collect();
    story.tell(Command::AppendSegments { lease: listing.lease, segments: Vec::new(), gone });
    assert_eq!(story.state.corpus(corpus).unwrap().gone().count(), 0);
}

#[test]
fn a_ruleset_may_name_corpora_that_are_not_there() {
    let mut story = Story::new();
    let name = types::Name::new("later").unwrap();
    story.tell(push("rules", &["a"], CorpusSelection::Named([name].into())));
    assert_eq!(story.state.hunts().count(), 0);
    story.put_corpus("sooner");
    assert_eq!(story.state.hunts().count(), 0);
    story.put_corpus("later");
    assert_eq!(story.state.hunts().count(), 1);
}
