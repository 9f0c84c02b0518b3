//! What a YaraRuleset's status says: numbers from the cluster, and what they mean in conditions.

use std::collections::{BTreeMap, BTreeSet};

use crd::{
    ConditionType::{Complete, Degraded, Paused, Progressing, Ready, RulesValid},
    CorpusProgress, RulesetState, YaraRulesetSpec, YaraRulesetStatus, reason,
};
use protocol::v1;
use rules::Problem;

use super::{
    check::Verdict,
    plan::{Intent, current},
    sources::Refusal,
};
use crate::{
    cells::{Sighting, rough},
    judgement::Judgement,
};

/// A status is read by people and is an object in etcd.
const MOST_PROBLEMS: usize = 20;
/// Of one message of a problem; libyara quotes what it was given.
const LONGEST_MESSAGE: usize = 500;

/// All that is known when the status is written.
pub(crate) struct Known<'a> {
    pub(crate) spec: &'a YaraRulesetSpec,
    pub(crate) generation: Option<i64>,
    pub(crate) orchestrator: &'a str,
    /// The rules as the spec has them, or why there are none.
    pub(crate) rules: Rules<'a>,
    pub(crate) intent: Intent,
    /// As the cluster has it, after all that was done.
    pub(crate) ruleset: Option<&'a v1::Ruleset>,
    /// `None`: the cluster does not tell.
    pub(crate) hunts: Option<&'a [Sighting]>,
    /// Corpora that the cluster knows, if that is known.
    pub(crate) corpora: Option<&'a BTreeSet<String>>,
    /// Corpora of this namespace, whether the cluster has learnt of them or not: what lies in them is owed, too.
    pub(crate) declared_corpora: &'a BTreeSet<String>,
    /// Why the cluster does not tell.
    pub(crate) silence: Option<&'a Silence>,
    /// The status as it is: numbers stay while nobody tells new ones.
    pub(crate) before: &'a YaraRulesetStatus,
}

/// Why a cluster does not tell.
pub(crate) struct Silence {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// What came of gathering and checking.
pub(crate) enum Rules<'a> {
    Checked { verdict: &'a Verdict, places: &'a BTreeMap<String, String> },
    Refused(&'a Refusal),
}

/// The status without its conditions, and what those say.
pub(crate) fn status(known: &Known<'_>) -> (YaraRulesetStatus, Vec<Judgement>) {
    let version = known.ruleset.and_then(current);
    let number = version.and_then(|it| it.version.as_ref()).map(|it| it.number);
    let hunts: Vec<&Sighting> = known.hunts.into_iter().flatten().filter(|it| version_of(it) == number).collect();
    let (warnings, problems) = match &known.rules {
        Rules::Checked { verdict, places } => (shown(&verdict.warnings, places), shown(&verdict.problems, places)),
        Rules::Refused(_) => (Vec::new(), Vec::new()),
    };
    let corpora: Vec<_> = hunts.iter().map(|sighting| progress(sighting)).collect();
    let sum = |of: fn(&CorpusProgress) -> i64| corpora.iter().map(of).sum::<i64>();
    let (owed, done) = (sum(|it| it.owed), sum(|it| it.done));
    let state = state(known, &hunts);
    let left = hunts.iter().filter(|it| it.hunt.pending_files > 0).map(|it| it.left).collect::<Option<Vec<_>>>();
    let told = YaraRulesetStatus {
        version: number.map(i64::from),
        digest: version.and_then(|it| it.version.as_ref()?.digest().ok()).map(|digest| digest.to_string()),
        rules: version.map(|it| i64::from(it.units_new) + i64::from(it.units_carried)),
        rules_new: version.map(|it| i64::from(it.units_new)),
        files_owed: owed,
        files_done: done,
        findings: sum(|it| it.findings),
        excepted: sum(|it| it.excepted),
        progress: percent(done, owed + done),
        // They run side by side: the slowest one counts.
        eta: left.and_then(|left| left.into_iter().max()).map(rough),
        corpora,
        ..YaraRulesetStatus::default()
    };
    let numbers = if known.silence.is_some() { known.before.clone() } else { told };
    let status = YaraRulesetStatus {
        observed_generation: known.generation,
        orchestrator: Some(known.orchestrator.to_owned()).filter(|name| !name.is_empty()),
        state: Some(state),
        warnings,
        problems,
        conditions: Vec::new(),
        ..numbers
    };
    let judgements = judge(known, &status, &hunts, state);
    (status, judgements)
}

fn version_of(sighting: &Sighting) -> Option<u32> {
    Some(sighting.hunt.version.as_ref()?.version.as_ref()?.number)
}

fn progress(Sighting { hunt, left }: &Sighting) -> CorpusProgress {
    let outcomes = hunt.outcomes.unwrap_or_default();
    let v1::OutcomeCounts { matched: _, clean: _, timed_out, crashed, too_large, unreadable, gone, abandoned } =
        outcomes;
    CorpusProgress {
        name: hunt.corpus.as_ref().map(|key| key.name.clone()).unwrap_or_default(),
        stored: number(hunt.stored_files),
        owed: number(hunt.pending_files),
        done: number(hunt.stored_files.saturating_sub(hunt.pending_files)),
        bytes: number(hunt.stored_bytes),
        findings: number(hunt.findings),
        excepted: number(timed_out + crashed + too_large + unreadable + gone + abandoned),
        eta: left.map(rough),
        complete: hunt.state() == v1::HuntState::CaughtUp,
        listing_error: (!hunt.listing_error.is_empty()).then(|| cut(&hunt.listing_error)),
    }
}

pub(crate) fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Rounded down, so that 100% is said of all only.
fn percent(done: i64, all: i64) -> Option<String> {
    (all > 0).then(|| format!("{}%", i128::from(done) * 100 / i128::from(all)))
}

pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST_MESSAGE) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

fn shown(problems: &[Problem], places: &BTreeMap<String, String>) -> Vec<String> {
    problems.iter().take(MOST_PROBLEMS).map(|problem| sentence(problem, places)).collect()
}

/// `ConfigMap rules, key a.yar, line 3, column 14: nothing is called "foo" here (…)`. With the place as its author knows
/// it: the compiler knows the namespace only.
pub(crate) fn sentence(problem: &Problem, places: &BTreeMap<String, String>) -> String {
    let Problem { file, line, column, message, hint, .. } = problem;
    let namespace = file.strip_suffix(".yar").unwrap_or(file);
    let place = places.get(namespace).map_or(namespace, String::as_str);
    let hint = hint.as_ref().map_or(String::new(), |hint| format!(" ({})", cut(hint)));
    format!("{place}, line {line}, column {column}: {}{hint}", cut(message))
}

fn state(known: &Known<'_>, hunts: &[&Sighting]) -> RulesetState {
    let state = known.ruleset.map(v1::Ruleset::state);
    match (known.intent, state) {
        (Intent::Expire, _) => RulesetState::Expired,
        (Intent::Pause, _) => RulesetState::Paused,
        (Intent::Hunt, None) => match &known.rules {
            Rules::Refused(_) => RulesetState::Refused,
            Rules::Checked { verdict, .. } if !verdict.problems.is_empty() => RulesetState::Refused,
            Rules::Checked { .. } => RulesetState::Pending,
        },
        (Intent::Hunt, Some(_)) if hunts.is_empty() && has_no_corpus(known) => RulesetState::NoCorpus,
        (Intent::Hunt, Some(_)) if hunts.is_empty() => RulesetState::Pending,
        (Intent::Hunt, Some(_)) => match hunts.iter().all(|it| it.hunt.state() == v1::HuntState::CaughtUp) {
            true => RulesetState::CaughtUp,
            false => RulesetState::Hunting,
        },
    }
}

/// Of corpora that are there somebody will tell soon.
fn has_no_corpus(known: &Known<'_>) -> bool {
    let wanted = |name: &String| known.spec.corpora.is_empty() || known.spec.corpora.contains(name);
    known.hunts.is_some() && known.corpora.is_some_and(|there| !there.iter().any(wanted))
}

fn judge(known: &Known<'_>, status: &YaraRulesetStatus, hunts: &[&Sighting], state: RulesetState) -> Vec<Judgement> {
    let rules = judge_rules(known, status);
    let version = status.version.map_or("no version".to_owned(), |version| format!("version {version}"));
    let broken = (rules.holds == Some(false)).then(|| (rules.reason, rules.message.clone()));
    let complete = judge_completeness(known, status, hunts, state, broken.is_some());

    let missing = missing_corpora(known);
    let failing = hunts.iter().find(|it| !it.hunt.listing_error.is_empty());
    let degraded = match (&broken, known.silence, missing.is_empty(), failing) {
        (Some((reason, message)), ..) => {
            let message = match status.version {
                Some(_) => format!("{message}. {version} goes on"),
                None => message.clone(),
            };
            Judgement::yes(Degraded, reason, message)
        }
        (None, Some(Silence { reason, message }), ..) => Judgement::yes(Degraded, reason, message.clone()),
        (None, None, false, _) => Judgement::yes(Degraded, reason::REFERENCE_NOT_FOUND, missing_message(&missing)),
        (None, None, true, Some(hunt)) => {
            let corpus = hunt.hunt.corpus.as_ref().map_or("", |key| &key.name);
            let error = cut(&hunt.hunt.listing_error);
            let message = format!("corpus {corpus} cannot be listed, so new files are not found: {error}");
            Judgement::yes(Degraded, reason::LISTING_FAILED, message)
        }
        (None, None, true, None) => Judgement::no(Degraded, reason::AS_EXPECTED, ""),
    };
    let ready = match (state, &broken) {
        (_, None) if known.silence.is_some() => {
            let (reason, message) = waiting(known);
            Judgement::no(Ready, reason, message)
        }
        (_, Some((reason, message))) => Judgement::no(Ready, reason, message.clone()),
        (RulesetState::Paused, None) => {
            Judgement::no(Ready, reason::PAUSED_BY_SPEC, "spec.paused is true: it does not hunt")
        }
        (RulesetState::Expired, None) => Judgement::no(Ready, reason::EXPIRED, expired(known)),
        (RulesetState::Pending | RulesetState::Refused, None) => {
            let (reason, message) = waiting(known);
            Judgement::no(Ready, reason, message)
        }
        (RulesetState::Hunting, None) => Judgement::yes(Ready, reason::SCANNING, format!("{version} hunts")),
        (RulesetState::CaughtUp | RulesetState::NoCorpus, None) => {
            Judgement::yes(Ready, reason::AS_EXPECTED, format!("{version} hunts"))
        }
    };
    let progressing = match state {
        RulesetState::Hunting => Judgement::yes(Progressing, reason::SCANNING, "files are owed"),
        RulesetState::Pending => Judgement::yes(Progressing, reason::UNKNOWN, "the Orchestrator is asked"),
        RulesetState::CaughtUp
        | RulesetState::NoCorpus
        | RulesetState::Paused
        | RulesetState::Expired
        | RulesetState::Refused => Judgement::no(Progressing, reason::AS_EXPECTED, ""),
    };
    let paused = match known.spec.paused {
        true => Judgement::yes(
            Paused,
            reason::PAUSED_BY_SPEC,
            "spec.paused is true; changed rules are pushed when it goes on",
        ),
        false => Judgement::no(Paused, reason::AS_EXPECTED, ""),
    };
    vec![ready, progressing, degraded, paused, rules, complete]
}

fn judge_rules(known: &Known<'_>, status: &YaraRulesetStatus) -> Judgement {
    match &known.rules {
        Rules::Refused(Refusal { reason, message }) => Judgement::no(RulesValid, reason, message.clone()),
        Rules::Checked { verdict, .. } => match (status.problems.first(), status.warnings.len()) {
            (Some(first), _) => {
                let others = verdict.problems.len() - 1;
                let more =
                    if others == 0 { String::new() } else { format!("; and {others} more, see status.problems") };
                Judgement::no(RulesValid, reason::RULES_BROKEN, format!("{first}{more}"))
            }
            (None, 0) => Judgement::yes(RulesValid, reason::AS_EXPECTED, "all rules compile"),
            (None, _) => {
                let count = verdict.warnings.len();
                let first = status.warnings.first().cloned().unwrap_or_default();
                let message = format!("all rules compile; warnings: {count}, the first: {first}");
                Judgement::yes(RulesValid, reason::AS_EXPECTED, message)
            }
        },
    }
}

/// Complete is said of the rules as the spec has them, in every corpus that there is, and of nothing less.
fn judge_completeness(
    known: &Known<'_>,
    status: &YaraRulesetStatus,
    hunts: &[&Sighting],
    state: RulesetState,
    broken: bool,
) -> Judgement {
    let no = |reason, message: String| Judgement::no(Complete, reason, message);
    if broken {
        return no(reason::RULES_BROKEN, "the rules of this spec do not hunt".to_owned());
    }
    if let Some(Silence { reason, message }) = known.silence {
        return no(reason, message.clone());
    }
    match state {
        RulesetState::Paused => no(reason::PAUSED_BY_SPEC, "spec.paused is true: it does not hunt".to_owned()),
        RulesetState::Expired => no(reason::EXPIRED, expired(known)),
        RulesetState::Pending | RulesetState::Refused => {
            let (reason, message) = waiting(known);
            no(reason, message)
        }
        RulesetState::NoCorpus => {
            let message = "there is no corpus to hunt in; create a Corpus in this namespace".to_owned();
            no(reason::REFERENCE_NOT_FOUND, message)
        }
        RulesetState::Hunting => {
            let running: Vec<_> = hunts.iter().filter(|it| it.hunt.state() != v1::HuntState::CaughtUp).collect();
            match running.iter().find(|it| !it.hunt.listed_once || !it.hunt.listing_error.is_empty()) {
                Some(hunt) if status.files_owed == 0 => {
                    let corpus = hunt.hunt.corpus.as_ref().map_or("", |key| &key.name);
                    no(reason::LISTING, format!("corpus {corpus} is not listed whole yet"))
                }
                // Without numbers: they stand in the status, and a message that changes with each file is an Event each time.
                _ => no(reason::SCANNING, "files are owed; status.corpora has the numbers".to_owned()),
            }
        }
        RulesetState::CaughtUp => {
            let missing = missing_corpora(known);
            if !missing.is_empty() {
                return no(reason::REFERENCE_NOT_FOUND, missing_message(&missing));
            }
            let wanted = |name: &&String| known.spec.corpora.is_empty() || known.spec.corpora.contains(*name);
            // Corpora are listed every few seconds, hunts are watched: one that is hunted in is known, whatever the last list had.
            let is_hunted =
                |name: &str| hunts.iter().any(|it| it.hunt.corpus.as_ref().is_some_and(|corpus| corpus.name == name));
            let unknown = |name: &&String| !is_hunted(name) && known.corpora.is_none_or(|there| !there.contains(*name));
            if let Some(name) = known.declared_corpora.iter().filter(unknown).find(wanted) {
                return no(reason::LISTING, format!("corpus {name} is not known to the Orchestrator yet"));
            }
            Judgement::yes(Complete, reason::AS_EXPECTED, "every stored file has its answer")
        }
    }
}

/// Corpora that the spec names and the cluster does not know.
fn missing_corpora<'a>(known: &'a Known<'_>) -> Vec<&'a str> {
    let Some(there) = known.corpora else { return Vec::new() };
    known.spec.corpora.iter().filter(|name| !there.contains(*name)).map(String::as_str).collect()
}

fn missing_message(missing: &[&str]) -> String {
    format!(
        "spec.corpora: there is no Corpus {} in this namespace; it hunts there once that is created",
        missing.join(", ")
    )
}

/// Why it does not hunt yet.
fn waiting(known: &Known<'_>) -> (&'static str, String) {
    match known.silence {
        Some(Silence { reason, message }) => (*reason, message.clone()),
        None => (reason::UNKNOWN, format!("Orchestrator {} is asked", known.orchestrator)),
    }
}

fn expired(known: &Known<'_>) -> String {
    format!(
        "spec.expires was {}; a later time makes it hunt again",
        known.spec.expires.as_ref().map(|at| at.0.to_string()).unwrap_or_default()
    )
}

#[cfg(test)]
mod tests;
