//! What a BatchDataset's status says: which version serves where, and what that means in conditions.

use std::collections::BTreeMap;

use crd::{
    BadVersion, BatchDatasetSpec, BatchDatasetStatus, BuildStatus,
    ConditionType::{Degraded, Paused, Progressing, Ready, SourceBuilt},
    Phase, ServerStatus, reason,
};

use super::{
    build::{FAILED, RUNNING},
    facts::Server,
    names::REDIS_PORT,
    rollout::Decision,
};
use crate::judgement::Judgement;

/// All that is known when the status is written.
pub(crate) struct Known<'a> {
    pub(crate) spec: &'a BatchDatasetSpec,
    pub(crate) generation: Option<i64>,
    /// Namespace and name of the client Service.
    pub(crate) service: (&'a str, &'a str),
    pub(crate) servers: &'a [Server],
    pub(crate) decision: &'a Decision,
    pub(crate) build: Option<BuildStatus>,
    pub(crate) topology_epoch: Option<u64>,
    /// Why pods do not start, in Kubernetes' own words.
    pub(crate) trouble: Option<&'a str>,
    /// Servers that did not do what they were told, and why.
    pub(crate) disobedient: &'a BTreeMap<String, String>,
    /// The operator is newer and would make pods differently, and it is not their turn.
    pub(crate) staged: bool,
    /// Why volumes do not grow, in the API server's own words.
    pub(crate) volumes: Option<&'a str>,
    pub(crate) before: &'a BatchDatasetStatus,
}

pub(crate) fn status(known: &Known<'_>) -> (BatchDatasetStatus, Vec<Judgement>) {
    let Known { decision, servers, before, .. } = known;
    let all = servers.len();
    let good = servers.iter().filter(|server| server.ready && server.serving().is_some()).count();
    let serving = decision.serving.clone();
    let built = known.build.as_ref().filter(|build| build.version.is_some() && build.version == serving);
    let bytes = built.and_then(|build| build.bytes).or(before.bytes.filter(|_| before.serving_version == serving));
    let status = BatchDatasetStatus {
        observed_generation: known.generation,
        serving_version: serving.clone(),
        previous_version: decision.previous.clone(),
        target_version: decision.target.clone(),
        bad_versions: decision.bad.clone(),
        rollout: decision.rollout.clone(),
        build: known.build.clone(),
        keys: keys(servers, serving.as_deref(), known.spec.shards)
            .or(before.keys.filter(|_| before.serving_version == serving)),
        bytes,
        servers: Some(format!("{good}/{all}")),
        replicas: servers.iter().map(server_status).collect(),
        topology_epoch: known.topology_epoch.and_then(|epoch| i64::try_from(epoch).ok()).or(before.topology_epoch),
        address: Some(format!("redis://{}.{}.svc:{REDIS_PORT}", known.service.1, known.service.0)),
        conditions: Vec::new(),
    };
    let judgements = judge(known, &status, good == all);
    (status, judgements)
}

fn server_status(server: &Server) -> ServerStatus {
    let seen = server.seen.clone().unwrap_or_default();
    ServerStatus {
        name: server.pod.clone(),
        shard: i32::from(server.shard),
        version: seen.serving,
        prepared: seen.prepared,
        ready: server.ready,
        state: if server.seen.is_some() { seen.state } else { "silent".to_owned() },
        keys: seen.keys,
        error: seen.last_error.map(|error| error.text.chars().take(300).collect()),
    }
}

/// One server of each part, if there is one that serves this version.
fn keys(servers: &[Server], version: Option<&str>, shards: i32) -> Option<i64> {
    let version = version?;
    (0..shards)
        .map(|shard| {
            let of_shard = servers.iter().filter(|server| i32::from(server.shard) == shard);
            of_shard.filter(|server| server.serves(version)).find_map(|server| Some(server.seen.as_ref()?.keys))
        })
        .sum()
}

fn judge(known: &Known<'_>, status: &BatchDatasetStatus, all_good: bool) -> Vec<Judgement> {
    let source_built = judge_source(known.build.as_ref());
    let version = status.serving_version.as_deref();
    let rollout = status.rollout.as_ref();
    let trouble = known.trouble.map(explained);

    let ready = match (version, all_good, &trouble) {
        _ if known.servers.is_empty() => {
            Judgement::no(Ready, reason::NOT_CONFIGURED, "spec.replicas is 0: nobody serves")
        }
        (_, false, Some(why)) => Judgement::no(Ready, reason::PODS_NOT_STARTING, why.clone()),
        (None, ..) if known.servers.iter().any(|server| server.seen.is_some()) => {
            Judgement::no(Ready, reason::NO_VERSION, no_version(known))
        }
        (None, ..) | (_, false, None) => {
            let message = format!("servers that serve: {}", status.servers.as_deref().unwrap_or_default());
            Judgement::no(Ready, reason::WAITING_FOR_PODS, message)
        }
        (Some(version), true, _) if rollout.is_none() && known.spec.pin().is_some_and(|pin| pin != version) => {
            let pin = known.spec.pin().unwrap_or_default();
            let message = format!("version {version} is served, and spec.version is {pin}");
            let is_there = refused(known).is_none_or(|bad| bad.reason != NOT_THERE);
            Judgement::no(Ready, if is_there { reason::ROLLED_BACK } else { reason::VERSION_NOT_FOUND }, message)
        }
        (Some(version), true, _) => Judgement::yes(Ready, reason::AS_EXPECTED, format!("version {version} is served")),
    };
    let progressing = match (rollout, known.build.as_ref()) {
        (Some(rollout), _) => match rollout.phase {
            Phase::Preparing | Phase::Canary | Phase::Waiting | Phase::Everywhere => {
                let message = format!(
                    "version {} is rolled out ({:?}); before: {}",
                    rollout.version, rollout.phase, rollout.from
                );
                Judgement::yes(Progressing, reason::ROLLING_OUT, message)
            }
            Phase::RollingBack => {
                let message = format!("servers go back from version {} to {}", rollout.version, rollout.from);
                Judgement::yes(Progressing, reason::ROLLED_BACK, message)
            }
            Phase::Stopped => {
                Judgement::no(Progressing, reason::ROLLED_BACK, "the rollout is stopped; spec.version decides")
            }
        },
        (None, Some(build)) if build.phase == RUNNING => {
            Judgement::yes(Progressing, reason::BUILDING, "a version is being built; status.build says how far it is")
        }
        (None, _) if !all_good => Judgement::yes(Progressing, reason::WAITING_FOR_PODS, "not all servers serve yet"),
        (None, _) if known.staged => {
            let message = "the operator is newer and would make pods differently; other datasets come first";
            Judgement::yes(Progressing, reason::UPGRADE_STAGED, message)
        }
        (None, _) => Judgement::no(Progressing, reason::AS_EXPECTED, ""),
    };
    let disobedient = known.disobedient.iter().next();
    let degraded = match (&trouble, refused(known), disobedient) {
        (Some(why), ..) if !all_good => Judgement::yes(Degraded, reason::PODS_NOT_STARTING, why.clone()),
        _ if source_built.reason == reason::BUILD_FAILED => {
            Judgement::yes(Degraded, reason::BUILD_FAILED, source_built.message.clone())
        }
        (_, Some(bad), _) => {
            let reason = if bad.reason == NOT_THERE { reason::VERSION_NOT_FOUND } else { reason::ROLLED_BACK };
            let message = format!(
                "version {} was not taken ({}): {}. {} serves. Build a better one, or name it in spec.version to have it tried again",
                bad.version,
                bad.reason,
                bad.message,
                version.unwrap_or("nothing"),
            );
            Judgement::yes(Degraded, reason, message)
        }
        (_, None, Some((pod, why))) => {
            Judgement::yes(Degraded, reason::API_REFUSED, format!("{pod} does not switch: {why}"))
        }
        (_, None, None) => match known.volumes {
            Some(why) => Judgement::yes(Degraded, reason::RESIZE_REFUSED, explained(why)),
            None => Judgement::no(Degraded, reason::AS_EXPECTED, ""),
        },
    };
    let paused = match known.spec.paused {
        true => Judgement::yes(Paused, reason::PAUSED_BY_SPEC, "spec.paused is true; what serves goes on serving"),
        false => Judgement::no(Paused, reason::AS_EXPECTED, ""),
    };
    vec![ready, progressing, degraded, paused, source_built]
}

/// What a server says of a version that is not there.
pub(crate) const NOT_THERE: &str = "VersionNotFound";

fn judge_source(build: Option<&BuildStatus>) -> Judgement {
    let Some(build) = build else {
        return Judgement::yes(
            SourceBuilt,
            reason::NOT_CONFIGURED,
            "there is no spec.source: versions are built elsewhere",
        );
    };
    match build.phase.as_str() {
        RUNNING => {
            Judgement::no(SourceBuilt, reason::BUILDING, "the build is under way; status.build says how far it is")
        }
        FAILED => {
            let why = build.error.as_deref().unwrap_or("see the Job's pods");
            let message =
                format!("the build failed: {why}. Mend the source, and change spec.source.revision to build again");
            Judgement::no(SourceBuilt, reason::BUILD_FAILED, message)
        }
        _ => {
            let version = build.version.as_deref().unwrap_or("a version");
            Judgement::yes(SourceBuilt, reason::AS_EXPECTED, format!("{version} was built from spec.source"))
        }
    }
}

/// The version that is to be served, by name or because it is announced, if it was not taken.
fn refused<'a>(known: &'a Known<'_>) -> Option<&'a BadVersion> {
    let announced = || known.servers.iter().filter_map(|server| server.seen.as_ref()?.announced.as_deref()).max();
    let wanted = known.spec.pin().or_else(announced)?;
    known.decision.bad.iter().find(|bad| bad.version == wanted)
}

/// Kubernetes' words, and the field that they are about.
fn explained(why: &str) -> String {
    match why.contains("secret") && why.contains("not found") {
        true => format!("{why}; spec.versions.credentialsSecret or spec.source.storage.credentialsSecret names it"),
        false if why.contains("ImagePull") || why.contains("ErrImage") => format!("{why}; spec.image names it"),
        false if why.contains("storageclass") || why.contains("PersistentVolumeClaim") => {
            format!("{why}; spec.volume.storageClassName names the class")
        }
        false => why.to_owned(),
    }
}

fn no_version(known: &Known<'_>) -> String {
    let failing = known.servers.iter().find_map(|server| server.seen.as_ref()?.last_error.as_ref());
    match (failing, &known.build) {
        (Some(error), _) => format!("no version can be fetched: {}", error.text),
        (None, Some(_)) => "there is no version yet; the first one is being built".to_owned(),
        (None, None) => format!(
            "no version is announced at {}; `dragnet dataset build --to {}` makes one",
            known.spec.versions.url, known.spec.versions.url
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::facts::{Seen, VersionError};

    const A: &str = "000001-aaaaaaaa";
    const B: &str = "000002-bbbbbbbb";

    fn server(ordinal: u16, serving: Option<&str>, ready: bool) -> Server {
        let seen = Seen { serving: serving.map(Into::into), keys: 10, state: "serving".into(), ..Seen::default() };
        Server { pod: format!("kv-{ordinal}"), shard: ordinal % 2, ready, restarts: 0, seen: Some(seen) }
    }

    fn told(
        servers: &[Server],
        decision: &Decision,
        build: Option<BuildStatus>,
        trouble: Option<&str>,
    ) -> (BatchDatasetStatus, String) {
        told_of_volumes(servers, decision, build, trouble, None)
    }

    fn told_of_volumes(
        servers: &[Server],
        decision: &Decision,
        build: Option<BuildStatus>,
        trouble: Option<&str>,
        volumes: Option<&str>,
    ) -> (BatchDatasetStatus, String) {
        let spec = serde_json::json!({"versions": {"url": "s3://facts/p"}, "shards": 2});
        let spec: BatchDatasetSpec = serde_json::from_value(spec).unwrap();
        let known = Known {
            spec: &spec,
            generation: Some(1),
            service: ("team", "p-kv"),
            servers,
            decision,
            build,
            topology_epoch: Some(1),
            trouble,
            disobedient: &BTreeMap::new(),
            volumes,
            staged: false,
            before: &BatchDatasetStatus::default(),
        };
        let (status, judgements) = status(&known);
        let said = |it: Judgement| {
            let holds = it.holds.map_or("?", |holds| if holds { "+" } else { "-" });
            format!("{}{holds}{}", it.condition, it.reason)
        };
        (status, judgements.into_iter().map(said).collect::<Vec<_>>().join(" "))
    }

    fn serving(version: &str) -> Decision {
        Decision { serving: Some(version.into()), target: Some(version.into()), ..Decision::default() }
    }

    #[test]
    fn a_dataset_that_serves_is_ready_and_counts_each_part_once() {
        let servers: Vec<_> = (0..4).map(|ordinal| server(ordinal, Some(A), true)).collect();
        let (status, conditions) = told(&servers, &serving(A), None, None);
        assert_eq!((status.keys, status.servers.as_deref()), (Some(20), Some("4/4")));
        assert_eq!(status.address.as_deref(), Some("redis://p-kv.team.svc:6379"));
        let expected =
            "Ready+AsExpected Progressing-AsExpected Degraded-AsExpected Paused-AsExpected SourceBuilt+NotConfigured";
        assert_eq!(conditions, expected);
    }

    #[test]
    fn without_a_version_it_says_how_to_make_one() {
        let (_, conditions) = told(&[server(0, None, false)], &Decision::default(), None, None);
        assert!(conditions.starts_with("Ready-NoVersion Progressing+WaitingForPods"), "{conditions}");
    }

    #[test]
    fn a_version_that_was_not_taken_is_told_until_there_is_a_better_one() {
        let bad = BadVersion { version: B.into(), reason: "TooFewKeys".into(), message: "1 of 10".into() };
        let decision = Decision { bad: vec![bad], ..serving(A) };
        let mut servers = [server(0, Some(A), true)];
        servers[0].seen.as_mut().unwrap().announced = Some(B.into());
        let (_, conditions) = told(&servers, &decision, None, None);
        assert!(conditions.contains("Ready+AsExpected") && conditions.contains("Degraded+RolledBack"), "{conditions}");
        servers[0].seen.as_mut().unwrap().announced = Some("000003-cccccccc".into());
        assert!(told(&servers, &decision, None, None).1.contains("Degraded-AsExpected"), "there is a newer one");
    }

    #[test]
    fn a_build_that_failed_degrades_what_serves_on() {
        let build = BuildStatus { phase: FAILED.into(), error: Some("no column".into()), ..BuildStatus::default() };
        let (_, conditions) = told(&[server(0, Some(A), true)], &serving(A), Some(build), None);
        assert!(conditions.starts_with("Ready+AsExpected"), "{conditions}");
        assert!(
            conditions.contains("Degraded+BuildFailed") && conditions.ends_with("SourceBuilt-BuildFailed"),
            "{conditions}"
        );
    }

    #[test]
    fn pods_that_do_not_start_name_the_field() {
        let why = "pod kv-0: CreateContainerConfigError: secret \"keys\" not found";
        let (_, conditions) = told(&[server(0, None, false)], &Decision::default(), None, Some(why));
        assert!(conditions.starts_with("Ready-PodsNotStarting"), "{conditions}");
        assert!(explained(why).contains("spec.versions.credentialsSecret"));
    }

    #[test]
    fn volumes_that_cannot_grow_degrade_what_serves_on() {
        let why = "failed to make volume data-0 larger (spec.volume.size): only a storageclass that supports resize";
        let (_, conditions) = told_of_volumes(&[server(0, Some(A), true)], &serving(A), None, None, Some(why));
        assert!(conditions.starts_with("Ready+AsExpected"), "{conditions}");
        assert!(conditions.contains("Degraded+ResizeRefused"), "{conditions}");
    }

    #[test]
    fn what_a_server_says_of_a_version_reaches_the_status() {
        let mut failing = server(0, None, false);
        let error = VersionError { version: Some(B.into()), is_final: true, text: "chunk 3 is wrong".into() };
        failing.seen.as_mut().unwrap().last_error = Some(error);
        let (status, _) = told(&[failing], &Decision::default(), None, None);
        assert_eq!(status.replicas[0].error.as_deref(), Some("chunk 3 is wrong"));
    }
}
