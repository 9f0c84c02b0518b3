//! Which server should serve which version now: a pure decision.
//!
//! ```text
//! Preparing ──first servers have it──► Canary ──they serve it──► Waiting ──rollout.wait──► Everywhere ──► done
//!     └──────────────┴─────────── something went wrong ───┴──────────────┴──► RollingBack ──► as before, the version is bad
//!                                                                         └──► Stopped, if a person is to decide
//! ```
//! What goes wrong: a server with the new version is not ready, was restarted, lost too many keys, or fails too many
//! reads; the version does not verify; or it takes too long. A version that went wrong is not tried again until the spec
//! changes and names it. Servers that serve nothing yet take what they can get by themselves.

use std::{collections::BTreeMap, time::Duration};

use crd::{BadVersion, Baseline, BatchDatasetStatus, Phase, Rollout, RolloutStatus};
use jiff::{SignedDuration, Timestamp};

use super::facts::Server;

/// Between two looks while something moves. It costs a request to each server, and none to the Kubernetes API.
pub(crate) const SOON: Duration = Duration::from_secs(2);
/// Between two looks while nothing does.
pub(crate) const LATER: Duration = Duration::from_secs(20);
/// Of versions that went wrong so many are remembered.
const MOST_BAD: usize = 20;

/// All that the decision is made from.
pub(crate) struct Facts<'a> {
    pub(crate) rules: &'a Rollout,
    /// `wait` and `deadline` of it.
    pub(crate) wait: Duration,
    pub(crate) deadline: Duration,
    /// The version that the spec names.
    pub(crate) pin: Option<&'a str>,
    /// Whether the spec is another one than when the status was written.
    pub(crate) spec_changed: bool,
    /// In the order of their pods.
    pub(crate) servers: &'a [Server],
    pub(crate) before: &'a BatchDatasetStatus,
    pub(crate) now: Timestamp,
}

/// What is to be done, and what the status says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Pods that are to serve this version now.
    pub(crate) switch: BTreeMap<String, String>,
    pub(crate) serving: Option<String>,
    pub(crate) previous: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) rollout: Option<RolloutStatus>,
    pub(crate) bad: Vec<BadVersion>,
    /// What went wrong right now.
    pub(crate) failed: Option<BadVersion>,
    /// What was finished right now.
    pub(crate) finished: Option<String>,
    pub(crate) look_again: Option<Duration>,
}

pub(crate) fn decide(facts: &Facts<'_>) -> Decision {
    let before = facts.before;
    let mut bad = before.bad_versions.clone();
    if facts.spec_changed {
        // Who names it wants it tried again.
        bad.retain(|version| facts.pin != Some(version.version.as_str()));
    }
    let serving = before.serving_version.clone().or_else(|| agreed(facts.servers));
    let target = target(facts, &bad, serving.as_deref());
    let decision =
        Decision { previous: before.previous_version.clone(), bad, target: target.clone(), ..Decision::default() };
    let (Some(serving), Some(target)) = (serving, target) else {
        return Decision { look_again: Some(SOON), ..decision };
    };
    let decision = Decision { serving: Some(serving.clone()), ..decision };
    match &before.rollout {
        Some(rollout) if rollout.phase == Phase::Stopped && !facts.spec_changed => {
            let target = Some(rollout.version.clone());
            Decision { rollout: Some(rollout.clone()), target, look_again: Some(LATER), ..decision }
        }
        Some(rollout) if rollout.phase == Phase::RollingBack => go_back(facts, rollout, decision),
        Some(rollout) if rollout.version == target => go_on(facts, rollout, decision),
        // Before it was everywhere somebody asked for the version that it began with.
        Some(rollout) if rollout.from == target => {
            let back = RolloutStatus { phase: Phase::RollingBack, since: facts.now.to_string(), ..rollout.clone() };
            go_back(facts, &back, decision)
        }
        None if serving == target => rest(facts, decision),
        Some(_) | None => {
            let rollout = begin(facts, &target, &serving);
            go_on(facts, &rollout, decision)
        }
    }
}

/// What all that serve anything serve, when nobody wrote it down yet.
fn agreed(servers: &[Server]) -> Option<String> {
    let mut serving = servers.iter().filter_map(Server::serving);
    let first = serving.next()?;
    serving.all(|other| other == first).then(|| first.to_owned())
}

fn target(facts: &Facts<'_>, bad: &[BadVersion], serving: Option<&str>) -> Option<String> {
    let is_bad = |version: &str| bad.iter().any(|it| it.version == version);
    if let Some(pin) = facts.pin {
        return if is_bad(pin) { serving.map(str::to_owned) } else { Some(pin.to_owned()) };
    }
    let seen = || facts.servers.iter().filter_map(|server| server.seen.as_ref());
    // Servers read the announcement at different moments; names sort by age.
    let pinned = seen().filter_map(|seen| seen.pinned.as_deref()).max();
    let announced = pinned.or_else(|| seen().filter_map(|seen| seen.announced.as_deref()).max());
    let is_marked = |version: &str| seen().any(|seen| seen.bad.contains(version));
    let announced = announced.filter(|version| !is_bad(version) && (pinned.is_some() || !is_marked(version)));
    announced.or(serving).map(str::to_owned)
}

fn begin(facts: &Facts<'_>, version: &str, from: &str) -> RolloutStatus {
    let before = facts.servers.iter().map(|server| (server.pod.clone(), server.baseline())).collect();
    let since = facts.now.to_string();
    RolloutStatus { version: version.to_owned(), from: from.to_owned(), phase: Phase::Preparing, since, before }
}

/// Nothing is rolled out: whoever serves something else is brought back, a new server for instance.
fn rest(facts: &Facts<'_>, decision: Decision) -> Decision {
    let Some(version) = decision.serving.clone() else { return decision };
    let is_bad = |version: &str| decision.bad.iter().any(|it| it.version == version);
    // One that was told to serve what it cannot get would go on trying.
    let is_misled = |server: &Server| server.seen.as_ref().and_then(|seen| seen.ordered.as_deref()).is_some_and(is_bad);
    let is_stray = |server: &Server| server.serving().is_some_and(|serving| serving != version);
    let stray = |server: &&Server| is_stray(server) || (server.serves(&version) && is_misled(server));
    let switch: BTreeMap<_, _> =
        facts.servers.iter().filter(stray).map(|server| (server.pod.clone(), version.clone())).collect();
    let all = facts.servers.iter().all(|server| server.ready && server.serves(&version));
    Decision { switch, look_again: Some(if all { LATER } else { SOON }), ..decision }
}

fn go_on(facts: &Facts<'_>, rollout: &RolloutStatus, decision: Decision) -> Decision {
    let mut rollout = rollout.clone();
    if rollout.since.parse().is_ok_and(|since: Timestamp| since > facts.now) {
        // By another operator's clock, or ours before it was set back: nobody waits for that time to come.
        rollout.since = facts.now.to_string();
    }
    if rollout.phase == Phase::Stopped {
        rollout = begin(facts, &rollout.version, &rollout.from);
    }
    if let Some(failure) = failure(facts, &rollout) {
        return give_up(facts, rollout, failure, decision);
    }
    let version = rollout.version.clone();
    let canaries = canaries(facts);
    let turn = |rollout: &mut RolloutStatus, phase| (rollout.phase, rollout.since) = (phase, facts.now.to_string());
    // A version that nobody announced is fetched only by those that are told to serve it.
    let is_announced = facts
        .servers
        .iter()
        .any(|server| server.seen.as_ref().is_some_and(|seen| seen.announced.as_deref() == Some(&version)));
    if rollout.phase == Phase::Preparing
        && (!is_announced || canaries.iter().all(|server| server.is_prepared(&version)))
    {
        turn(&mut rollout, Phase::Canary);
    }
    if rollout.phase == Phase::Canary && canaries.iter().all(|server| server.serves(&version) && server.ready) {
        turn(&mut rollout, Phase::Waiting);
    }
    if rollout.phase == Phase::Waiting && in_phase(facts, &rollout) >= facts.wait {
        turn(&mut rollout, Phase::Everywhere);
    }
    let told: Vec<&Server> = match rollout.phase {
        Phase::Preparing | Phase::RollingBack | Phase::Stopped => Vec::new(),
        Phase::Canary | Phase::Waiting => canaries,
        Phase::Everywhere => facts.servers.iter().collect(),
    };
    let late = told.iter().filter(|server| server.seen.is_some() && !server.serves(&version));
    let switch = late.map(|server| (server.pod.clone(), version.clone())).collect();
    if rollout.phase == Phase::Everywhere && facts.servers.iter().all(|server| server.serves(&version) && server.ready)
    {
        let previous = Some(rollout.from.clone());
        let (serving, finished) = (Some(version.clone()), Some(version));
        return Decision { serving, previous, finished, look_again: Some(LATER), ..decision };
    }
    let left = facts.wait.saturating_sub(in_phase(facts, &rollout));
    let look_again = if rollout.phase == Phase::Waiting { left.clamp(Duration::from_secs(1), SOON) } else { SOON };
    Decision { switch, rollout: Some(rollout), look_again: Some(look_again), ..decision }
}

fn give_up(facts: &Facts<'_>, rollout: RolloutStatus, failure: BadVersion, mut decision: Decision) -> Decision {
    decision.bad.retain(|version| version.version != failure.version);
    decision.bad.insert(0, failure.clone());
    decision.bad.truncate(MOST_BAD);
    decision.failed = Some(failure);
    let phase = if facts.rules.automatic_rollback { Phase::RollingBack } else { Phase::Stopped };
    let rollout = RolloutStatus { phase, since: facts.now.to_string(), ..rollout };
    match phase {
        Phase::RollingBack => go_back(facts, &rollout, decision),
        _ => Decision { rollout: Some(rollout), look_again: Some(LATER), ..decision },
    }
}

fn go_back(facts: &Facts<'_>, rollout: &RolloutStatus, decision: Decision) -> Decision {
    let RolloutStatus { version, from, .. } = rollout;
    let with_it = facts.servers.iter().filter(|server| server.serves(version));
    let switch: BTreeMap<_, _> = with_it.map(|server| (server.pod.clone(), from.clone())).collect();
    // Who does not answer now is brought back when it does: it serves something else than it should.
    let rollout = (!switch.is_empty()).then(|| rollout.clone());
    Decision { switch, rollout, target: Some(from.clone()), look_again: Some(SOON), ..decision }
}

/// From the last pod down, so that the first of each part is among the last to change.
fn canaries<'a>(facts: &Facts<'a>) -> Vec<&'a Server> {
    let all = facts.servers.len();
    let percent = usize::try_from(facts.rules.canary_percent).unwrap_or(100);
    let count = (all * percent).div_ceil(100).clamp(1.min(all), all);
    facts.servers[all - count..].iter().collect()
}

fn in_phase(facts: &Facts<'_>, rollout: &RolloutStatus) -> Duration {
    let since = rollout.since.parse().unwrap_or(facts.now);
    let passed: SignedDuration = facts.now.duration_since(since);
    Duration::try_from(passed).unwrap_or_default()
}

/// What went wrong with the version that is rolled out.
fn failure(facts: &Facts<'_>, rollout: &RolloutStatus) -> Option<BadVersion> {
    let version = rollout.version.as_str();
    let bad = |reason: &str, message: String| {
        Some(BadVersion { version: version.to_owned(), reason: reason.to_owned(), message })
    };
    for server in facts.servers {
        let error = server.seen.as_ref().and_then(|seen| seen.last_error.as_ref());
        if let Some(error) = error.filter(|error| error.is_final && error.version.as_deref() == Some(version)) {
            return bad("VerificationFailed", format!("{} refuses it: {}", server.pod, error.text));
        }
    }
    if rollout.phase == Phase::Preparing {
        return late(facts, rollout).and_then(|message| bad("DeadlineExceeded", message));
    }
    for server in facts.servers {
        let Some(before) = rollout.before.get(&server.pod) else { continue };
        if server.restarts > before.restarts
            && server.seen.as_ref().is_none_or(|seen| seen.serving.as_deref() != Some(&rollout.from))
        {
            return bad("ServerRestarted", format!("{} was restarted while it served it", server.pod));
        }
    }
    let with_it: Vec<&Server> = facts.servers.iter().filter(|server| server.serves(version)).collect();
    if let Some(server) = with_it.iter().find(|server| !server.ready && was_ready(rollout, server)) {
        return bad("ServerNotReady", format!("{} serves it and is not ready", server.pod));
    }
    let known: Vec<(&&Server, &Baseline)> =
        with_it.iter().filter_map(|server| Some((server, rollout.before.get(&server.pod)?))).collect();
    let (keys, keys_before) =
        known.iter().fold((0, 0), |(now, was), (server, before)| (now + server.baseline().keys, was + before.keys));
    let allowed = i64::from(facts.rules.max_key_loss_percent);
    if keys_before > 0 && (keys_before - keys) * 100 > allowed * keys_before {
        let message =
            format!("{keys} keys where the version before had {keys_before}; rollout.maxKeyLossPercent is {allowed}");
        return bad("TooFewKeys", message);
    }
    let (requests, errors) = known.iter().fold((0, 0), |(requests, errors), (server, before)| {
        let now = server.baseline();
        (requests + (now.requests - before.requests).max(0), errors + (now.errors - before.errors).max(0))
    });
    let budget = i64::from(facts.rules.max_errors_per_mille);
    if errors > 0 && errors * 1000 > budget * requests {
        let message = format!("{errors} of {requests} requests failed; rollout.maxErrorsPerMille is {budget}");
        return bad("TooManyErrors", message);
    }
    match rollout.phase {
        Phase::Canary | Phase::Everywhere => late(facts, rollout).and_then(|message| bad("DeadlineExceeded", message)),
        Phase::Preparing | Phase::Waiting | Phase::RollingBack | Phase::Stopped => None,
    }
}

/// A server that was unready before the rollout says nothing about the version.
fn was_ready(rollout: &RolloutStatus, server: &Server) -> bool {
    rollout.before.contains_key(&server.pod)
}

fn late(facts: &Facts<'_>, rollout: &RolloutStatus) -> Option<String> {
    let version = &rollout.version;
    let waiting = facts.servers.iter().find(|server| !server.serves(version))?;
    let why = waiting.seen.as_ref().and_then(|seen| seen.last_error.as_ref());
    let why = why.map_or(String::new(), |error| format!(": {}", error.text));
    let is_late = in_phase(facts, rollout) > facts.deadline;
    is_late.then(|| format!("{} does not serve it within rollout.deadline, {}{why}", waiting.pod, facts.rules.deadline))
}

#[cfg(test)]
mod tests;
