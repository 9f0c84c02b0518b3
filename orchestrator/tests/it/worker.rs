//! A worker that scans nothing: it speaks the whole protocol and keeps account of what it was told, so
//! that tests can hold the orchestrator to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use protocol::{
    client::{channel, leader_hint},
    v1::{self, leader_message, worker_client::WorkerClient, worker_message},
};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;

/// What all workers of a test were told, together.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Per (corpus, segment, ruleset, to): how many settlements of it were accepted.
    pub(crate) accepted: BTreeMap<(u32, u32, u32, u32), u32>,
    pub(crate) refused: u32,
    pub(crate) leases: BTreeSet<(u64, u32)>,
}

#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) name: String,
    pub(crate) members: Vec<String>,
    /// Segments that a listing of a corpus finds, and files in each.
    pub(crate) segments: u32,
    pub(crate) files: u32,
    pub(crate) account: Arc<Mutex<Account>>,
}

/// Runs until aborted or dropped, reconnecting as a worker does.
pub(crate) struct FakeWorker(JoinHandle<()>);

impl FakeWorker {
    pub(crate) fn start(script: Script) -> Self {
        Self(TaskTracker::new().spawn(run(script)))
    }
}

impl Drop for FakeWorker {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Job {
    lease: v1::LeaseId,
    listed: bool,
    keys: Vec<(u32, u32, u32, u32)>,
}

async fn run(script: Script) {
    let mut session = None;
    let mut at = 0;
    let mut hint = None;
    // Settlements sent and not answered, resent on the next stream as a real worker would.
    let mut unanswered: BTreeMap<u64, (worker_message::Message, Job)> = BTreeMap::new();
    let mut request = 0;
    loop {
        let address = hint.take().unwrap_or_else(|| {
            at += 1;
            script.members[at % script.members.len()].clone()
        });
        hint = converse(&script, &address, &mut session, &mut unanswered, &mut request).await;
        sleep(Duration::from_millis(50)).await;
    }
}

/// One stream from Hello to its end; returns where the leader is said to be.
async fn converse(
    script: &Script,
    address: &str,
    session: &mut Option<v1::SessionId>,
    unanswered: &mut BTreeMap<u64, (worker_message::Message, Job)>,
    request: &mut u64,
) -> Option<String> {
    let (to_leader, from_us) = mpsc::channel::<v1::WorkerMessage>(1024);
    let hello = worker_message::Message::Hello(v1::Hello {
        worker: script.name.clone(),
        resume: *session,
        holding: unanswered.values().map(|(_, job)| job.lease).collect(),
        program_version: "test".to_owned(),
    });
    send(&to_leader, hello).await;
    let mut client = WorkerClient::new(channel(address).unwrap());
    let opened = tokio::time::timeout(Duration::from_secs(5), client.work(ReceiverStream::new(from_us))).await;
    let mut messages = match opened {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return leader_hint(&status),
        Err(_) => return None,
    };
    let mut heartbeat = tokio::time::interval(Duration::from_millis(100));
    loop {
        let message = tokio::select! {
            message = messages.message() => message,
            _ = heartbeat.tick() => {
                send(&to_leader, worker_message::Message::Heartbeat(v1::Heartbeat {})).await;
                continue;
            }
        };
        let Ok(Some(v1::LeaderMessage { message: Some(message) })) = message else {
            return None;
        };
        match message {
            leader_message::Message::Welcome(welcome) => {
                if *session != welcome.session {
                    *session = welcome.session;
                    unanswered.clear();
                }
                for (message, _) in unanswered.values() {
                    send(&to_leader, message.clone()).await;
                }
                send(&to_leader, worker_message::Message::Ask(v1::Ask { jobs: 4 })).await;
            }
            leader_message::Message::Grant(grant) => {
                let lease = grant.lease.unwrap();
                script.account.lock().unwrap().leases.insert((lease.index, lease.slot));
                for (number, message, job) in settle(script, grant, request) {
                    send(&to_leader, message.clone()).await;
                    unanswered.insert(number, (message, job));
                }
            }
            leader_message::Message::Answer(answer) => {
                if let Some((_, job)) = unanswered.remove(&answer.request) {
                    let mut account = script.account.lock().unwrap();
                    if answer.refusal.is_empty() {
                        for key in job.keys {
                            *account.accepted.entry(key).or_default() += 1;
                        }
                    } else if !job.listed {
                        account.refused += 1;
                    }
                }
            }
            leader_message::Message::SessionEnded(_) => {
                *session = None;
                unanswered.clear();
                return None;
            }
        }
    }
}

async fn send(to_leader: &mpsc::Sender<v1::WorkerMessage>, message: worker_message::Message) {
    drop(to_leader.send(v1::WorkerMessage { message: Some(message) }).await); // a broken stream ends the loop above
}

fn settle(script: &Script, grant: v1::Grant, request: &mut u64) -> Vec<(u64, worker_message::Message, Job)> {
    let lease = grant.lease.unwrap();
    *request += 1;
    match grant.job.unwrap() {
        v1::grant::Job::Scan(scan) => {
            let (corpus, segment) = (scan.corpus.unwrap().id, scan.segment.unwrap());
            let keys =
                scan.targets.iter().map(|t| (corpus, segment.ordinal, t.ruleset_id, t.to.as_ref().unwrap().number));
            let keys = keys.collect();
            let results = scan.targets.iter().map(|target| v1::RulesetResult {
                ruleset_id: target.ruleset_id,
                to: target.to.as_ref().unwrap().number,
                verdict: Some(v1::ruleset_result::Verdict::Done(v1::ScanDone {
                    matched: 1,
                    findings: 2,
                    excepted: vec![v1::ExceptedFile { file: 0, exception: v1::FileException::TimedOut.into() }],
                    scanned_bytes: segment.bytes,
                })),
            });
            let settle = v1::Settle { request: *request, lease: Some(lease), results: results.collect(), ask: 1 };
            vec![(*request, worker_message::Message::Settle(settle), Job { lease, listed: false, keys })]
        }
        v1::grant::Job::List(list) => {
            let corpus = list.corpus.unwrap();
            let segments = (0..script.segments).map(|ordinal| {
                let name = format!("{}-{ordinal}", corpus.url);
                let manifest = types::Digest::of(name.as_bytes()).as_bytes().to_vec();
                v1::Segment { ordinal: 0, manifest, files: script.files, bytes: 1000 }
            });
            let append = v1::AppendSegments {
                request: *request,
                lease: Some(lease),
                segments: segments.collect(),
                gone: Vec::new(),
            };
            let first = (
                *request,
                worker_message::Message::AppendSegments(append),
                Job { lease, listed: true, keys: Vec::new() },
            );
            // The answer to the append is not awaited: messages of one stream are taken in order.
            *request += 1;
            let settle = v1::SettleListing {
                request: *request,
                lease: Some(lease),
                result: Some(v1::settle_listing::Result::Done(v1::Skipped::default())),
                ask: 1,
            };
            let second = (
                *request,
                worker_message::Message::SettleListing(settle),
                Job { lease, listed: true, keys: Vec::new() },
            );
            vec![first, second]
        }
    }
}
