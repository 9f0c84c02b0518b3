//! The state as messages.

use std::sync::Arc;

use protocol::v1;
use scheduling::{Corpus, HuntState, HuntView, Priority, Ruleset, RulesetState, Session, State, Version, WorkClass};
use tonic::Status;
use types::{CorpusId, CorpusSelection, RulesetId, SessionId};

use crate::{
    drive::{job, leading::now},
    node::{Member, Node},
};

/// What this node knows of itself and its cluster. `brief`: without what costs time on a large state.
pub(crate) async fn status(node: Arc<Node>, brief: bool) -> Result<v1::StatusResponse, Status> {
    let metrics = openraft::async_runtime::WatchReceiver::borrow_watched(&node.raft.metrics()).clone();
    let (applied_index, state) = node.view.freeze();
    let (leader_id, leader_address) = node.leader().unwrap_or_default();
    let leads = metrics.state.is_leader();
    let members = node.members().into_iter().map(|member| member_view(&node, member, leader_id, leads));
    let backlog = state.backlog();
    let last_log_index = metrics.last_log_index.unwrap_or(0);
    let snapshot_index = metrics.snapshot.map_or(0, |id| id.index);
    let not_ready = node.readiness().err();
    let mut status = v1::StatusResponse {
        node_id: node.identity.node_id,
        cluster_id: node.identity.cluster_id.clone(),
        leader_id,
        leader_address,
        term: metrics.current_term,
        members: members.collect(),
        last_log_index,
        committed_index: metrics.local_committed.map_or(0, |id| id.index),
        applied_index,
        snapshot_index,
        sessions: u32::try_from(state.sessions().count()).unwrap_or(u32::MAX),
        owed_segments: backlog.owed_segments,
        leased_segments: backlog.leased_segments,
        listings: backlog.listings,
        storage_url: node.store.url().to_owned(),
        program_version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: not_ready.is_none(),
        role: node.role().into(),
        not_ready_reason: not_ready.unwrap_or_default(),
        advertised_address: node.advertise.clone(),
        last_backup: node.backups.last().map(|last| last.to_wire()),
        listings_due: state.listings_due(now().max(state.now())),
        log_entries_since_snapshot: last_log_index.saturating_sub(snapshot_index),
        ..v1::StatusResponse::default()
    };
    if !brief {
        status.open_sessions = state.sessions().map(|(id, session)| session_view(&node, id, session)).collect();
        let costly = move || {
            let (digest_index, digest) = node.view.digest()?;
            // The digest says for which index it is: only equal indexes can be compared.
            let digest = if digest_index == applied_index { digest.as_bytes().to_vec() } else { Vec::new() };
            Ok::<_, std::io::Error>((digest, owed_work(&state)))
        };
        let (digest, backlog) = tokio::task::spawn_blocking(costly)
            .await
            .map_err(std::io::Error::other)
            .flatten()
            .map_err(|error| Status::internal(error.to_string()))?;
        (status.state_digest, status.backlog) = (digest, backlog);
    }
    Ok(status)
}

fn member_view(node: &Node, member: Member, leader_id: u64, leads: bool) -> v1::Member {
    let Member { id, address, voter } = member;
    let role = if voter { v1::MemberRole::Voter } else { v1::MemberRole::Learner };
    let silent = node.silent_for(id).filter(|_| leads);
    v1::Member {
        node_id: id,
        address,
        voter,
        lag: node.lag(id).filter(|_| leads),
        role: role.into(),
        leader: id == leader_id,
        silent_ms: silent.map(|silent| u64::try_from(silent.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn session_view(node: &Node, id: SessionId, session: &Session) -> v1::SessionInfo {
    let tally = node.metrics.sessions.tally(id);
    v1::SessionInfo {
        session: Some(id.into()),
        worker: session.worker.clone(),
        leases: u32::try_from(session.leases.len()).unwrap_or(u32::MAX),
        opened_at_ms: session.opened_at.0,
        settled_files: tally.files,
        settled_bytes: tally.bytes,
        files_per_second: tally.files_per_second,
    }
}

fn owed_work(state: &State) -> Vec<v1::Backlog> {
    let owed = state.owed_work().into_iter().map(|((tenant, class), work)| {
        let class = match class {
            WorkClass::Urgent => v1::WorkClass::Urgent,
            WorkClass::Fresh => v1::WorkClass::Fresh,
            WorkClass::Sweep => v1::WorkClass::Sweep,
            WorkClass::Background => v1::WorkClass::Background,
        };
        v1::Backlog {
            tenant: tenant.to_string(),
            class: class.into(),
            segments: work.segments,
            files: work.files,
            bytes: work.bytes,
        }
    });
    owed.collect()
}

pub(crate) fn corpus(id: CorpusId, corpus: &Corpus) -> v1::Corpus {
    v1::Corpus {
        id: id.0,
        key: Some((&corpus.key).into()),
        url: corpus.spec.url.clone(),
        max_file_bytes: corpus.spec.max_file_bytes,
        listing_interval_ms: corpus.spec.listing_interval_ms,
        segments: corpus.next_ordinal().0,
        files: corpus.files,
        bytes: corpus.bytes,
        gone_files: corpus.gone_files,
        skipped: Some(corpus.listing.skipped.into()),
        listing_now: corpus.listing.lease.is_some(),
        last_listed_at_ms: corpus.listing.last_done_at.map(|at| at.0),
        listing_error: corpus.listing.last_error.clone().unwrap_or_default(),
        datasets: corpus.spec.datasets.iter().map(ToString::to_string).collect(),
        include: corpus.spec.include.clone(),
        exclude: corpus.spec.exclude.clone(),
    }
}

pub(crate) fn ruleset(id: RulesetId, ruleset: &Ruleset) -> v1::Ruleset {
    let state = match ruleset.state {
        RulesetState::Active => v1::RulesetState::Active,
        RulesetState::Paused => v1::RulesetState::Paused,
        RulesetState::Retired => v1::RulesetState::Retired,
    };
    let priority = match ruleset.priority {
        Priority::Urgent => v1::RulesetPriority::Urgent,
        Priority::Sweep => v1::RulesetPriority::Sweep,
        Priority::Background => v1::RulesetPriority::Background,
    };
    let corpora = match &ruleset.corpora {
        CorpusSelection::All => Vec::new(),
        CorpusSelection::Named(names) => names.iter().map(ToString::to_string).collect(),
    };
    v1::Ruleset {
        id: id.0,
        key: Some((&ruleset.key).into()),
        state: state.into(),
        corpora,
        versions: ruleset.versions.iter().map(version).collect(),
        priority: priority.into(),
    }
}

pub(crate) fn version(version: &Version) -> v1::RulesetVersion {
    v1::RulesetVersion {
        version: Some(v1::VersionRef { number: version.number.0, digest: version.digest.as_bytes().to_vec() }),
        put_at_ms: version.put_at.0,
        source_bytes: version.source_bytes,
        units_new: version.units_new,
        units_carried: version.units_carried,
    }
}

pub(crate) fn hunts(index: u64, state: &State, tenant: &str, include_superseded: bool) -> v1::ListHuntsResponse {
    let wanted = |hunt: &HuntView| {
        (tenant.is_empty() || hunt.ruleset.tenant.0.as_str() == tenant)
            && (include_superseded || hunt.state != HuntState::Superseded)
    };
    v1::ListHuntsResponse { hunts: state.hunts().filter(wanted).map(hunt).collect(), applied_index: index }
}

fn hunt(hunt: HuntView) -> v1::Hunt {
    let state = match hunt.state {
        HuntState::Running => v1::HuntState::Running,
        HuntState::CaughtUp => v1::HuntState::CaughtUp,
        HuntState::Paused => v1::HuntState::Paused,
        HuntState::Superseded => v1::HuntState::Superseded,
        HuntState::Retired => v1::HuntState::Retired,
    };
    v1::Hunt {
        ruleset: Some((&hunt.ruleset).into()),
        corpus: Some((&hunt.corpus).into()),
        ruleset_id: hunt.ruleset_id.0,
        corpus_id: hunt.corpus_id.0,
        version: Some(version(&hunt.version)),
        state: state.into(),
        stored_files: hunt.stored_files,
        stored_bytes: hunt.stored_bytes,
        outcomes: Some(hunt.outcomes.into()),
        pending_files: hunt.pending_files,
        done_bytes: hunt.done_bytes,
        scanned_bytes: hunt.scanned_bytes,
        findings: hunt.findings,
        listed_once: hunt.listed_once,
        started_at_ms: hunt.started_at.0,
        caught_up_at_ms: hunt.caught_up_at.map(|at| at.0),
        skipped: Some(hunt.skipped.into()),
        listing_error: hunt.listing_error.unwrap_or_default(),
    }
}

/// Coverage of the rulesets and corpora that a request names; empty names mean every one.
pub(crate) struct Wanted<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) ruleset: &'a str,
    pub(crate) corpus: &'a str,
}

impl Wanted<'_> {
    fn pairs<'s>(&'s self, state: &'s State) -> impl Iterator<Item = (CorpusId, &'s Corpus, RulesetId, &'s Ruleset)> {
        let fits = |wanted: &str, name: &types::Name| wanted.is_empty() || wanted == name.as_str();
        state
            .corpora()
            .filter(move |(_, corpus)| fits(self.tenant, &corpus.key.tenant.0) && fits(self.corpus, &corpus.key.name))
            .flat_map(move |(corpus_id, corpus)| {
                let rulesets = state.coverage_of(corpus_id);
                rulesets.filter_map(move |(id, _)| Some((corpus_id, corpus, id, state.ruleset(id)?)))
            })
            .filter(move |(_, _, _, ruleset)| fits(self.ruleset, &ruleset.key.name))
    }

    /// Where the findings of each segment's latest done version lie, by corpus, segment and ruleset.
    pub(crate) fn findings(&self, state: &State, storage_url: &str) -> Vec<v1::FindingsObject> {
        let objects = self.pairs(state).flat_map(|(corpus_id, corpus, ruleset_id, ruleset)| {
            let coverage = state.coverage(corpus_id, ruleset_id);
            let found = coverage.into_iter().flat_map(scheduling::Coverage::findings);
            found.filter_map(move |(segment, object)| {
                Some(v1::FindingsObject {
                    ruleset: Some((&ruleset.key).into()),
                    corpus: Some((&corpus.key).into()),
                    version: job::version_ref(ruleset, object.version),
                    corpus_id: corpus_id.0,
                    ruleset_id: ruleset_id.0,
                    segment: Some(v1::Segment::new(segment, corpus.segment(segment)?)),
                    lease: Some(object.lease.into()),
                    findings: object.findings,
                    storage_url: storage_url.to_owned(),
                    gone: corpus.gone_of(segment).map(|file| file.0).collect(),
                })
            })
        });
        let mut objects: Vec<_> = objects.collect();
        // What is about the same files stands together, so that a reader can merge rulesets segment by segment.
        let place = |object: &v1::FindingsObject| {
            let segment = object.segment.as_ref().map_or(0, |segment| segment.ordinal);
            (object.corpus_id, segment, object.ruleset_id)
        };
        objects.sort_by_key(place);
        objects
    }

    /// Files without an answer at each segment's latest done version.
    pub(crate) fn exceptions(&self, state: &State, storage_url: &str) -> Vec<v1::SegmentExceptions> {
        let segments = self.pairs(state).flat_map(|(corpus_id, corpus, ruleset_id, ruleset)| {
            let coverage = state.coverage(corpus_id, ruleset_id);
            coverage.into_iter().flat_map(move |coverage| {
                coverage.excepted().filter_map(move |(segment, files)| {
                    Some(v1::SegmentExceptions {
                        ruleset: Some((&ruleset.key).into()),
                        corpus: Some((&corpus.key).into()),
                        version: job::version_ref(ruleset, coverage.done_version(segment)?),
                        segment: Some(v1::Segment::new(segment, corpus.segment(segment)?)),
                        files: files.iter().map(|(file, exception)| (*file, *exception).into()).collect(),
                        last_error: coverage.abandoned_because(segment).unwrap_or_default().to_owned(),
                        storage_url: storage_url.to_owned(),
                    })
                })
            })
        });
        segments.collect()
    }
}
