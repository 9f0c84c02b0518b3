//! How a corpus grows.

use types::{CorpusId, CorpusSpec, FileOrdinal, Name, SegmentOrdinal, Skipped};

use crate::{
    Command, Event, Grant, ListingResult, Refusal, Work,
    tests::story::{INTERVAL_MS, Job, Story, corpus_key},
};

fn fail(story: &mut Story, listing: &Job) {
    let result = ListingResult::Failed { reason: "no such bucket".to_owned() };
    story.tell(Command::SettleListing { lease: listing.lease, result });
}

#[test]
fn the_same_manifest_is_stored_once() {
    let mut story = Story::new();
    let corpus = story.put_corpus("files");
    let listing = story.begin_listing(corpus);
    let (one, two) = (story.segment(3), story.segment(4));
    let appended = |first, count| Event::SegmentsAppended { corpus, first: SegmentOrdinal(first), count };
    for segments in [vec![one, one], vec![one, two], vec![two]] {
        story.tell(Command::AppendSegments { lease: listing.lease, segments, gone: Vec::new() });
    }
    story.expect([appended(0, 1), appended(1, 1), appended(2, 0)]);
    let stored = story.state.corpus(corpus).unwrap();
    assert_eq!(stored.segments(), [one, two]);
    assert_eq!((stored.files, stored.bytes), (7, 700));

    let other = story.put_corpus("other");
    let listing = story.begin_listing(other);
    story.tell(Command::AppendSegments { lease: listing.lease, segments: vec![one], gone: Vec::new() });
    assert_eq!(story.state.corpus(other).unwrap().segments(), [one], "another corpus may hold the same files");
}

#[test]
fn segments_can_be_scanned_while_their_listing_goes_on() {
    let (mut story, corpus, _) = Story::of_segments(0);
    let listing = story.begin_listing(corpus);
    story.arrive(&listing, &[1]);
    assert_eq!(story.grant_to("a").unwrap().segment(), SegmentOrdinal(0));
}

#[test]
fn a_gone_file_is_counted_once() {
    let (mut story, corpus, _) = Story::of_segments(2);
    let listing = story.begin_listing(corpus);
    let files = |files: &[u32]| files.iter().copied().map(FileOrdinal).collect::<Vec<_>>();
    let gone = vec![
        (SegmentOrdinal(1), files(&[3, 3, 9, 10, u32::MAX])),
        (SegmentOrdinal(1), files(&[9])),
        (SegmentOrdinal(2), files(&[0])),
        (SegmentOrdinal(u32::MAX), files(&[0])),
    ];
    for _ in 0..2 {
        let gone = gone.clone();
        story.tell(Command::AppendSegments { lease: listing.lease, segments: Vec::new(), gone });
    }
    let stored = story.state.corpus(corpus).unwrap();
    assert_eq!(stored.gone_files, 2);
    let marked: Vec<_> = stored.gone().map(|(segment, files)| (segment.0, files.iter().collect::<Vec<_>>())).collect();
    assert_eq!(marked, [(1, vec![3, 9])]);
    assert_eq!(stored.files, 20, "what was stored stays in the receipt");
}

#[test]
fn only_one_listing_of_a_corpus_runs() {
    let mut story = Story::new();
    let corpus = story.put_corpus("files");
    let listing = story.begin_listing(corpus);
    assert_eq!(story.state.backlog().listings, 1);
    assert_eq!(story.grant_to("b"), None);
    let grants = vec![Grant { session: story.session("b"), work: Work::List { corpus } }];
    assert_eq!(story.refusal(Command::GrantLeases { grants: grants.clone() }), Refusal::NotOwed);

    story.lose("lister");
    story.expect([
        Event::LeaseEnded { lease: listing.lease, session: listing.session },
        Event::SessionEnded { session: listing.session },
    ]);
    assert_eq!(story.grant_to("b").unwrap().work, Work::List { corpus }, "due again at once");
    let segments = vec![story.segment(1)];
    let late = Command::AppendSegments { lease: listing.lease, segments, gone: Vec::new() };
    assert_eq!(story.refusal(late), Refusal::LeaseNotLive);
}

#[test]
fn a_listing_is_due_again_after_the_interval() {
    let mut story = Story::new();
    let corpus = story.put_corpus("files");
    let listing = story.grant_to("a").unwrap();
    assert_eq!((&listing.work, listing.attempt), (&Work::List { corpus }, 1));
    let skipped = Skipped { symlinks: 2, ..Skipped::default() };
    story.tell(Command::SettleListing { lease: listing.lease, result: ListingResult::Done { skipped } });
    story.expect([
        Event::LeaseEnded { lease: listing.lease, session: listing.session },
        Event::ListingSettled { corpus },
    ]);
    let stored = &story.state.corpus(corpus).unwrap().listing;
    assert_eq!((stored.last_done_at, stored.skipped, stored.lease), (Some(story.now()), skipped, None));

    story.wait_ms(INTERVAL_MS - 1);
    assert_eq!(story.grant_to("a"), None);
    story.wait_ms(1);
    assert_eq!(story.grant_to("a").unwrap().work, Work::List { corpus });
}

#[test]
fn a_failed_listing_backs_off_and_does_not_wait_for_the_interval() {
    let mut story = Story::new();
    let corpus = story.put_corpus("files");
    for (attempt, back_off_ms) in (1..).zip([1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000, 32_000]) {
        let listing = story.grant_to("a").unwrap();
        assert_eq!(listing.attempt, attempt);
        fail(&mut story, &listing);
        story.wait_ms(back_off_ms - 1);
        assert_eq!(story.grant_to("a"), None, "attempt {attempt}");
        story.wait_ms(1);
    }
    let stored = &story.state.corpus(corpus).unwrap().listing;
    assert_eq!((stored.failed, stored.last_error.as_deref()), (8, Some("no such bucket")));
    assert_eq!(stored.last_done_at, None);
    story.list(corpus, &[]);
    let stored = &story.state.corpus(corpus).unwrap().listing;
    assert_eq!((stored.failed, &stored.last_error), (0, &None));
}

#[test]
fn a_corpus_keeps_its_url_and_takes_a_new_interval_at_once() {
    let mut story = Story::new();
    let corpus = story.put_corpus_listed_every("files", u64::MAX);
    story.list(corpus, &[]);
    story.wait_ms(10);
    assert_eq!(story.grant_to("a"), None);
    assert_eq!(story.put_corpus_listed_every("files", 5), corpus);
    story.wait_ms(5);
    assert_eq!(story.grant_to("a").unwrap().corpus(), corpus);

    let url = "s3://elsewhere".to_owned();
    let spec = CorpusSpec {
        url,
        max_file_bytes: 1,
        listing_interval_ms: 1,
        datasets: Vec::new(),
        include: Vec::new(),
        exclude: Vec::new(),
    };
    let moved = Command::PutCorpus { key: corpus_key("files"), spec };
    assert_eq!(story.refusal(moved), Refusal::UrlFixed { url: "s3://elsewhere".to_owned() });
}

#[test]
fn a_deleted_corpus_ends_its_jobs_and_its_id_is_not_given_again() {
    let (mut story, corpus, ruleset) = Story::of_segments(2);
    let job = story.grant_to("a").unwrap();
    let delete = Command::DeleteCorpus { key: story.state.corpus(corpus).unwrap().key.clone() };

    let events = story.commit(delete.clone());

    assert!(
        matches!(events.as_slice(), [Event::LeaseEnded { .. }, Event::CorpusDeleted { corpus: gone }] if *gone == corpus)
    );
    let late = Command::SettleAttempt { lease: job.lease, results: Vec::new() };
    assert_eq!(story.refusal(late), Refusal::LeaseNotLive);
    assert!(story.state.coverage(corpus, ruleset).is_none() && story.state.hunts().next().is_none());
    assert_eq!(story.commit(delete), [], "twice is once");
    let again = story.put_corpus("other");
    assert!(again > corpus);
    assert_eq!(story.state.ruleset(ruleset).unwrap().versions.len(), 1, "the ruleset goes on elsewhere");
}

#[test]
fn the_datasets_of_a_corpus_are_those_named_last() {
    let mut story = Story::new();
    for names in [vec!["packages", "prevalence"], vec!["prevalence"], vec![]] {
        let datasets: Vec<_> = names.into_iter().map(|name| Name::new(name).unwrap()).collect();
        let spec = CorpusSpec {
            url: "file:///files".to_owned(),
            max_file_bytes: 1,
            listing_interval_ms: 1,
            datasets: datasets.clone(),
            include: Vec::new(),
            exclude: Vec::new(),
        };
        story.commit(Command::PutCorpus { key: corpus_key("files"), spec });
        let corpus = story.state.corpus_id(&corpus_key("files")).unwrap();
        assert_eq!(story.state.corpus(corpus).unwrap().spec.datasets, datasets);
    }
}

#[test]
fn an_unknown_corpus_cannot_be_listed() {
    let mut story = Story::new();
    let grants = vec![Grant { session: story.session("a"), work: Work::List { corpus: CorpusId(7) } }];
    assert_eq!(story.refusal(Command::GrantLeases { grants }), Refusal::UnknownCorpus);
}

#[test]
fn a_segment_without_files_or_with_too_many_is_refused_with_all_its_company() {
    let (mut story, corpus, _) = Story::of_segments(0);
    let listing = story.begin_listing(corpus);
    for files in [0, 4097, u32::MAX] {
        let segments = vec![story.segment(1), story.segment(files)];
        let append = Command::AppendSegments { lease: listing.lease, segments, gone: Vec::new() };
        assert!(matches!(story.refusal(append), Refusal::Malformed { .. }));
    }
    story.arrive(&listing, &[1, 4096]);
    assert_eq!(story.state.corpus(corpus).unwrap().files, 4097);
}
