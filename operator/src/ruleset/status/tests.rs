use super::*;

struct Story {
    spec: YaraRulesetSpec,
    verdict: Verdict,
    refusal: Option<Refusal>,
    intent: Intent,
    ruleset: Option<v1::Ruleset>,
    hunts: Option<Vec<Sighting>>,
    corpora: BTreeSet<String>,
    declared: BTreeSet<String>,
    silence: Option<Silence>,
    before: YaraRulesetStatus,
}

fn hunt(corpus: &str, version: u32, files: u64, pending: u64) -> Sighting {
    let state = if pending == 0 { v1::HuntState::CaughtUp } else { v1::HuntState::Running };
    let named = v1::VersionRef { number: version, digest: vec![1; 32] };
    let outcomes =
        v1::OutcomeCounts { matched: 1, clean: files - pending - 2, too_large: 1, ..v1::OutcomeCounts::default() };
    let hunt = v1::Hunt {
        corpus: Some(v1::Key { tenant: "team".into(), name: corpus.into() }),
        version: Some(v1::RulesetVersion { version: Some(named), ..v1::RulesetVersion::default() }),
        state: state.into(),
        stored_files: files,
        pending_files: pending,
        outcomes: Some(outcomes),
        findings: 3,
        listed_once: true,
        ..v1::Hunt::default()
    };
    let left = (pending > 0).then(|| std::time::Duration::from_secs(pending));
    Sighting { hunt, left }
}

fn ruleset(version: u32) -> v1::Ruleset {
    let named = v1::VersionRef { number: version, digest: vec![1; 32] };
    let version =
        v1::RulesetVersion { version: Some(named), units_new: 2, units_carried: 5, ..v1::RulesetVersion::default() };
    v1::Ruleset { state: v1::RulesetState::Active.into(), versions: vec![version], ..v1::Ruleset::default() }
}

impl Story {
    fn hunting(hunts: Vec<Sighting>) -> Self {
        let corpora = hunts.iter().map(|it| it.hunt.corpus.as_ref().unwrap().name.clone()).collect();
        Self {
            spec: serde_json::from_value(serde_json::json!({"sources": []})).unwrap(),
            verdict: Verdict::default(),
            refusal: None,
            intent: Intent::Hunt,
            ruleset: Some(ruleset(2)),
            hunts: Some(hunts),
            corpora,
            declared: BTreeSet::new(),
            silence: None,
            before: YaraRulesetStatus::default(),
        }
    }

    fn tell(&self) -> (YaraRulesetStatus, Vec<Judgement>) {
        let places = BTreeMap::from([("web".to_owned(), "ConfigMap rules, key web.yar".to_owned())]);
        let rules = match &self.refusal {
            Some(refusal) => Rules::Refused(refusal),
            None => Rules::Checked { verdict: &self.verdict, places: &places },
        };
        status(&Known {
            spec: &self.spec,
            generation: Some(4),
            orchestrator: "main",
            rules,
            intent: self.intent,
            ruleset: self.ruleset.as_ref(),
            hunts: self.hunts.as_deref(),
            corpora: Some(&self.corpora),
            declared_corpora: &self.declared,
            silence: self.silence.as_ref(),
            before: &self.before,
        })
    }

    /// As `Ready=True Progressing=False …` with reasons.
    fn conditions(&self) -> String {
        let said = |it: Judgement| {
            let holds = it.holds.map_or("?", |holds| if holds { "+" } else { "-" });
            format!("{}{holds}{}", it.condition, it.reason)
        };
        self.tell().1.into_iter().map(said).collect::<Vec<_>>().join(" ")
    }

    fn message(&self, condition: crd::ConditionType) -> String {
        self.tell().1.into_iter().find(|it| it.condition == condition).unwrap().message
    }
}

fn mistake() -> Problem {
    let source =
        rules::LoadedSource::plain(&types::RulesetSource { namespace: "web".into(), text: "rule a {\n  x\n}".into() });
    Problem::at(&source, rules::Severity::Error, "nothing is called \"x\" here", 11..12)
        .with_hint(Some("import it".into()))
}

#[test]
fn numbers_add_up_over_corpora_and_the_slowest_counts() {
    let (status, _) = Story::hunting(vec![hunt("a", 2, 100, 10), hunt("b", 2, 100, 70)]).tell();
    assert_eq!((status.files_owed, status.files_done, status.findings, status.excepted), (80, 120, 6, 2));
    assert_eq!((status.progress.as_deref(), status.eta.as_deref()), (Some("60%"), Some("2m")));
    assert_eq!((status.version, status.rules, status.rules_new), (Some(2), Some(7), Some(2)));
    assert_eq!(status.state, Some(RulesetState::Hunting));
    assert_eq!(status.corpora[0].eta.as_deref(), Some("10s"));
}

#[test]
fn it_is_complete_when_all_is_answered_at_the_version_of_the_spec() {
    let story = Story::hunting(vec![hunt("a", 2, 100, 0)]);
    let expected = "Ready+AsExpected Progressing-AsExpected Degraded-AsExpected Paused-AsExpected RulesValid+AsExpected \
                    Complete+AsExpected";
    assert_eq!(story.conditions(), expected);
    let stale = Story::hunting(vec![hunt("a", 1, 100, 0)]);
    assert!(
        stale.conditions().ends_with("Complete-Unknown"),
        "the version before says nothing: {}",
        stale.conditions()
    );
    let running = Story::hunting(vec![hunt("a", 2, 100, 0), hunt("b", 2, 100, 1)]);
    let expected = "Ready+Scanning Progressing+Scanning Degraded-AsExpected Paused-AsExpected RulesValid+AsExpected \
                    Complete-Scanning";
    assert_eq!(running.conditions(), expected);
}

#[test]
fn a_corpus_that_the_cluster_is_to_learn_of_is_owed() {
    let mut story = Story::hunting(vec![hunt("a", 2, 100, 0)]);
    story.declared.insert("b".to_owned());
    assert!(story.conditions().ends_with("Complete-Listing"), "{}", story.conditions());
    story.spec.corpora = vec!["a".to_owned()];
    assert!(story.conditions().ends_with("Complete+AsExpected"), "it does not hunt in b");
}

#[test]
fn a_corpus_that_is_hunted_in_is_known_before_it_is_listed_among_the_others() {
    let mut story = Story::hunting(vec![hunt("a", 2, 100, 0), hunt("b", 2, 100, 0)]);
    story.declared = ["a", "b"].map(str::to_owned).into();
    story.corpora.remove("b"); // asked for before it was there; nothing more happens that would have it asked for again
    assert!(story.conditions().ends_with("Complete+AsExpected"), "{}", story.conditions());
}

#[test]
fn a_mistake_is_told_with_its_place_while_the_version_before_goes_on() {
    let mut story = Story::hunting(vec![hunt("a", 2, 100, 0)]);
    story.verdict.problems = vec![mistake(), mistake()];
    let expected = "Ready-RulesBroken Progressing-AsExpected Degraded+RulesBroken Paused-AsExpected RulesValid-RulesBroken \
                    Complete-RulesBroken";
    assert_eq!(story.conditions(), expected);
    let place = "ConfigMap rules, key web.yar, line 2, column 3: nothing is called \"x\" here (import it); and 1 more";
    assert!(story.message(RulesValid).starts_with(place), "{}", story.message(RulesValid));
    assert!(story.message(Degraded).ends_with("version 2 goes on"), "{}", story.message(Degraded));
    let (status, _) = story.tell();
    assert_eq!((status.version, status.problems.len(), status.state), (Some(2), 2, Some(RulesetState::CaughtUp)));
    story.ruleset = None;
    assert_eq!(story.tell().0.state, Some(RulesetState::Refused));
}

#[test]
fn what_is_missing_is_named() {
    let mut story = Story::hunting(vec![hunt("a", 2, 100, 0)]);
    story.spec.corpora = vec!["a".to_owned(), "z".to_owned()];
    assert!(story.conditions().contains("Degraded+ReferenceNotFound"), "{}", story.conditions());
    assert!(story.message(Complete).contains("no Corpus z"), "{}", story.message(Complete));
    let nowhere = Story::hunting(Vec::new());
    assert!(nowhere.message(Complete).contains("create a Corpus"), "{}", nowhere.message(Complete));
    let refusal = Some(Refusal { reason: reason::REFERENCE_NOT_FOUND, message: "spec.sources[0]: …".to_owned() });
    let refused = Story { refusal, ruleset: None, ..Story::hunting(Vec::new()) };
    assert!(refused.conditions().starts_with("Ready-ReferenceNotFound"), "{}", refused.conditions());
}

#[test]
fn silence_of_the_cluster_is_told_and_is_no_completion() {
    let silence = Some(Silence { reason: reason::ORCHESTRATOR_UNREACHABLE, message: "no answer".to_owned() });
    let before = YaraRulesetStatus { version: Some(2), findings: 9, ..YaraRulesetStatus::default() };
    let silent = Story { ruleset: None, hunts: None, silence, before, ..Story::hunting(Vec::new()) };
    let expected = "Ready-OrchestratorUnreachable Progressing+Unknown Degraded+OrchestratorUnreachable Paused-AsExpected \
                    RulesValid+AsExpected Complete-OrchestratorUnreachable";
    assert_eq!(silent.conditions(), expected);
    assert_eq!((silent.tell().0.version, silent.tell().0.findings), (Some(2), 9), "what was known stays");
}

#[test]
fn until_the_cluster_tells_of_a_new_version_nothing_is_claimed() {
    let mut new = Story::hunting(Vec::new());
    new.corpora.insert("a".to_owned());
    let expected = "Ready-Unknown Progressing+Unknown Degraded-AsExpected Paused-AsExpected RulesValid+AsExpected \
                    Complete-Unknown";
    assert_eq!(new.conditions(), expected);
}

#[test]
fn pauses_and_ends_are_told() {
    let mut story = Story::hunting(vec![hunt("a", 2, 100, 0)]);
    (story.intent, story.spec.paused) = (Intent::Pause, true);
    let expected = "Ready-PausedBySpec Progressing-AsExpected Degraded-AsExpected Paused+PausedBySpec RulesValid+AsExpected \
                    Complete-PausedBySpec";
    assert_eq!(story.conditions(), expected);
    (story.intent, story.spec.paused) = (Intent::Expire, false);
    story.spec.expires = serde_json::from_value("2026-01-01T00:00:00Z".into()).unwrap();
    assert!(story.message(Ready).contains("2026-01-01T00:00:00Z"));
}

#[test]
fn a_listing_that_fails_is_a_reason_to_look() {
    let mut failing = hunt("a", 2, 100, 1);
    (failing.hunt.listing_error, failing.hunt.pending_files) = ("no such bucket".to_owned(), 0);
    let story = Story::hunting(vec![failing]);
    assert!(story.conditions().contains("Degraded+ListingFailed"), "{}", story.conditions());
    assert!(story.conditions().ends_with("Complete-Listing"), "{}", story.conditions());
}
