//! Whether a version is to be built, and how far that is: decided from the Jobs that are there.
//!
//! ```text
//! source changed ──► Job, one pod for each shard ──► Job that makes a version of them ──► the servers hear of it
//! ```

use std::sync::Arc;

use crd::BuildStatus;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::ResourceExt as _;
use serde::Deserialize;

/// Label that Kubernetes gives the pods of a Job.
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
pub(crate) const RUNNING: &str = "Running";
pub(crate) const SUCCEEDED: &str = "Succeeded";
pub(crate) const FAILED: &str = "Failed";

/// What is there of a build.
pub(crate) struct Observed<'a> {
    pub(crate) input: &'a str,
    pub(crate) shards: i32,
    pub(crate) build_name: String,
    pub(crate) build: Option<&'a Job>,
    pub(crate) finish: Option<&'a Job>,
    pub(crate) pods: &'a [Arc<Pod>],
    pub(crate) before: Option<&'a BuildStatus>,
}

/// The Job that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    Build,
    Finish,
}

/// As `dragnet dataset build --report` writes it.
#[derive(Debug, Deserialize)]
struct Report {
    version: String,
    bytes: i64,
}

/// How the build of this input stands, and the Job that is to be made for it.
pub(crate) fn plan(observed: &Observed<'_>) -> (BuildStatus, Option<Missing>) {
    let same = observed.before.filter(|before| before.input == observed.input);
    if let Some(before) = same.filter(|before| before.phase != RUNNING) {
        // What has ended stays ended, also when its Jobs are gone.
        return (before.clone(), None);
    }
    let status = BuildStatus {
        job: observed.build_name.clone(),
        input: observed.input.to_owned(),
        phase: RUNNING.to_owned(),
        progress: format!("0/{}", observed.shards),
        ..BuildStatus::default()
    };
    let Some(build) = observed.build else {
        // The pods of a build that got so far may be gone; what they built is not.
        return match observed.finish {
            Some(finish) => (finishing(observed, finish, status), None),
            None => (status, Some(Missing::Build)),
        };
    };
    let done = build.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
    let status = BuildStatus { shards_done: done, progress: format!("{done}/{}", observed.shards), ..status };
    match (ending(build), observed.finish) {
        (Some(Ending::Failed(why)), _) => (failed(observed, build, status, why), None),
        (None, _) => (status, None),
        (Some(Ending::Complete), None) => {
            (BuildStatus { progress: "finishing".to_owned(), ..status }, Some(Missing::Finish))
        }
        (Some(Ending::Complete), Some(finish)) => (finishing(observed, finish, status), None),
    }
}

fn finishing(observed: &Observed<'_>, finish: &Job, status: BuildStatus) -> BuildStatus {
    match ending(finish) {
        None => BuildStatus { progress: "finishing".to_owned(), ..status },
        Some(Ending::Failed(why)) => failed(observed, finish, status, why),
        Some(Ending::Complete) => {
            let messages = messages(observed.pods, &finish.name_any());
            let report = messages.iter().find_map(|(_, text)| serde_json::from_str::<Report>(text).ok());
            let (version, bytes) = report.map_or((None, None), |report| (Some(report.version), Some(report.bytes)));
            let shards_done = observed.shards;
            BuildStatus {
                phase: SUCCEEDED.to_owned(),
                progress: "done".to_owned(),
                shards_done,
                version,
                bytes,
                ..status
            }
        }
    }
}

fn failed(observed: &Observed<'_>, job: &Job, status: BuildStatus, why: String) -> BuildStatus {
    let messages = messages(observed.pods, &job.name_any());
    let said =
        messages.into_iter().find(|(exit, text)| *exit != 0 && !text.is_empty()).map(|(_, text)| last_lines(&text));
    let error = said.map_or(why.clone(), |said| format!("{said} ({why})"));
    BuildStatus { phase: FAILED.to_owned(), progress: "failed".to_owned(), error: Some(error), ..status }
}

enum Ending {
    Complete,
    Failed(String),
}

fn ending(job: &Job) -> Option<Ending> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let holds = |type_: &str| conditions.iter().find(|it| it.type_ == type_ && it.status == "True");
    if holds("Complete").is_some() {
        return Some(Ending::Complete);
    }
    let failed = holds("Failed")?;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    Some(Ending::Failed(format!("{}: {}", text(&failed.reason), text(&failed.message))))
}

/// What the containers of a Job's pods left behind: exit codes and last words.
fn messages(pods: &[Arc<Pod>], job: &str) -> Vec<(i32, String)> {
    let of_job = pods.iter().filter(|pod| pod.labels().get(JOB_NAME).is_some_and(|name| name == job));
    let statuses = of_job.filter_map(|pod| pod.status.as_ref());
    statuses
        .flat_map(|status| status.container_statuses.iter().chain(&status.init_container_statuses).flatten())
        .filter_map(|container| container.state.as_ref()?.terminated.as_ref())
        .map(|ended| (ended.exit_code, ended.message.clone().unwrap_or_default()))
        .collect()
}

/// Of a log the end, where the error is.
fn last_lines(text: &str) -> String {
    const LONGEST: usize = 600;
    let text = text.trim();
    let from = text.char_indices().rev().nth(LONGEST).map_or(0, |(at, _)| at);
    text[from..].lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{
        batch::v1::{JobCondition, JobStatus},
        core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, PodStatus},
    };
    use kube::api::ObjectMeta;

    use super::*;

    fn job(name: &str, succeeded: i32, ending: Option<&str>) -> Job {
        let condition = |type_: &str| JobCondition {
            type_: type_.into(),
            status: "True".into(),
            reason: Some("BackoffLimitExceeded".into()),
            message: Some("too often".into()),
            ..JobCondition::default()
        };
        let conditions = ending.map(|type_| vec![condition(type_)]);
        let status = JobStatus { succeeded: Some(succeeded), conditions, ..JobStatus::default() };
        let metadata = ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() };
        Job { metadata, status: Some(status), ..Job::default() }
    }

    fn pod(job: &str, exit_code: i32, message: &str) -> Arc<Pod> {
        let ended = ContainerStateTerminated {
            exit_code,
            message: Some(message.into()),
            ..ContainerStateTerminated::default()
        };
        let state = ContainerState { terminated: Some(ended), ..ContainerState::default() };
        let container = ContainerStatus { state: Some(state), ..ContainerStatus::default() };
        let status = PodStatus { container_statuses: Some(vec![container]), ..PodStatus::default() };
        let labels = [(JOB_NAME.to_owned(), job.to_owned())].into();
        let metadata = ObjectMeta { labels: Some(labels), ..ObjectMeta::default() };
        Arc::new(Pod { metadata, status: Some(status), ..Pod::default() })
    }

    fn look(
        build: Option<&Job>,
        finish: Option<&Job>,
        pods: &[Arc<Pod>],
        before: Option<&BuildStatus>,
    ) -> (BuildStatus, Option<Missing>) {
        plan(&Observed { input: "abc", shards: 3, build_name: "b".into(), build, finish, pods, before })
    }

    #[test]
    fn a_build_goes_from_shards_to_a_version() {
        let (status, missing) = look(None, None, &[], None);
        assert_eq!((status.phase.as_str(), missing), (RUNNING, Some(Missing::Build)));
        let (status, missing) = look(Some(&job("b", 2, None)), None, &[], Some(&status));
        assert_eq!((status.progress.as_str(), missing), ("2/3", None));
        let built = job("b", 3, Some("Complete"));
        let (status, missing) = look(Some(&built), None, &[], Some(&status));
        assert_eq!((status.progress.as_str(), missing), ("finishing", Some(Missing::Finish)));
        let report = pod("f", 0, r#"{"version":"000001-aaaaaaaa","bytes":12,"keys":3}"#);
        let finish = job("f", 1, Some("Complete"));
        let (status, missing) = look(Some(&built), Some(&finish), &[report], Some(&status));
        assert_eq!((status.version.as_deref(), status.bytes, missing), (Some("000001-aaaaaaaa"), Some(12), None));
        assert_eq!(look(None, None, &[], Some(&status)), (status.clone(), None), "it is not built again");
    }

    #[test]
    fn a_failure_says_what_the_builder_said() {
        let error = "error: rows.csv has no column \"sha\"; it has sha256, package\n";
        let (status, missing) = look(Some(&job("b", 0, Some("Failed"))), None, &[pod("b", 1, error)], None);
        assert_eq!((status.phase.as_str(), missing), (FAILED, None));
        let told = status.error.clone().unwrap();
        assert!(
            told.contains("it has sha256, package") && told.ends_with("(BackoffLimitExceeded: too often)"),
            "{told}"
        );
        assert_eq!(look(None, None, &[], Some(&status)), (status.clone(), None), "it is not tried for ever");
        let other = BuildStatus { input: "before".into(), ..status };
        assert_eq!(look(None, None, &[], Some(&other)).1, Some(Missing::Build), "another source is another build");
    }
}
