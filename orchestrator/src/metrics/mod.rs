//! What is counted, and how it is told to Prometheus.
//!
//! | name (all begin with `dragnet_orchestrator_`) | unit | labels |
//! |---|---|---|
//! | `proposal_seconds` (histogram): from proposing a log entry until it is applied here; leader only | seconds | |
//! | `grant_seconds` (histogram): from choosing work until its grants leave for the worker; leader only | seconds | |
//! | `entry_commands` (histogram): commands in one log entry | commands | |
//! | `grants_total`, `settlements_total`, `refused_commands_total` | | |
//! | `failed_attempts_total`, `abandoned_segments_total` | | |
//! | `sessions_opened_total`, `sessions_ended_total` | | |
//! | `backups_total` | | outcome: succeeded, failed |
//! | `last_backup_timestamp_seconds`, `last_backup_bytes`: of the last that succeeded here; 0 before | Unix seconds, bytes | |
//! | `applied_entries_total`: log entries applied, of all time: the applied index | entries | |
//! | `last_log_index`, `committed_index`, `snapshot_index`, `term` | | |
//! | `log_entries_since_snapshot` | entries | |
//! | `log_appended_bytes_total`: since the process started | bytes | |
//! | `leading`, `ready` | 1 or 0 | |
//! | `members` | members | role: voter, learner |
//! | `silent_members`: of which the leader has not heard for 5 s; leader only | members | |
//! | `replication_lag_entries`: of the member that is furthest behind; leader only | entries | |
//! | `sessions`, `leased_segments`, `listings`, `listings_due` | | |
//! | `backlog_segments`, `backlog_files`, `backlog_bytes` | | tenant (the first 50 by name, then `other`), class: urgent, fresh, sweep, background |
//! | `build_info`: 1 | | version |
//!
//! Numbers of the state and of Raft are read at the moment of a scrape; all members tell them, the leader's are the newest.

mod exposition;
mod sessions;

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use scheduling::Event;

use crate::backup::Backup;
pub(crate) use exposition::register as register_node;
pub(crate) use sessions::Sessions;

/// From a commit on a fast disk to an election in between.
const SECONDS: [f64; 14] = [0.000_5, 0.001, 0.002, 0.004, 0.008, 0.015, 0.03, 0.06, 0.125, 0.25, 0.5, 1.0, 2.5, 10.0];
const COMMANDS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What this process counted itself.
#[derive(Debug)]
pub(crate) struct Metrics {
    proposal_seconds: Histogram,
    grant_seconds: Histogram,
    entry_commands: Histogram,
    grants: Counter,
    settlements: Counter,
    refused_commands: Counter,
    failed_attempts: Counter,
    abandoned_segments: Counter,
    sessions_opened: Counter,
    sessions_ended: Counter,
    backups: Family<Outcome, Counter>,
    last_backup: Gauge,
    last_backup_bytes: Gauge,
    /// What each session did since this node began to lead.
    pub(crate) sessions: Sessions,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            proposal_seconds: Histogram::new(SECONDS),
            grant_seconds: Histogram::new(SECONDS),
            entry_commands: Histogram::new(COMMANDS),
            grants: Counter::default(),
            settlements: Counter::default(),
            refused_commands: Counter::default(),
            failed_attempts: Counter::default(),
            abandoned_segments: Counter::default(),
            sessions_opened: Counter::default(),
            sessions_ended: Counter::default(),
            backups: Family::default(),
            last_backup: Gauge::default(),
            last_backup_bytes: Gauge::default(),
            sessions: Sessions::default(),
        }
    }
}

impl Metrics {
    /// Names the metrics in a registry whose prefix is the component's.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let Self {
            proposal_seconds,
            grant_seconds,
            entry_commands,
            grants,
            settlements,
            refused_commands,
            failed_attempts,
            abandoned_segments,
            sessions_opened,
            sessions_ended,
            backups,
            last_backup,
            last_backup_bytes,
            sessions: _,
        } = self;
        let seconds = || Unit::Seconds;
        let help = "Time from proposing a log entry until it is applied on the leader";
        registry.register_with_unit("proposal", help, seconds(), proposal_seconds.clone());
        let help = "Time from choosing work until its grants leave for the worker";
        registry.register_with_unit("grant", help, seconds(), grant_seconds.clone());
        registry.register("entry_commands", "Commands in one log entry", entry_commands.clone());
        registry.register("grants", "Jobs granted to workers", grants.clone());
        registry.register("settlements", "Segments settled under a ruleset version", settlements.clone());
        registry.register("refused_commands", "Commands that the state refused", refused_commands.clone());
        registry.register("failed_attempts", "Attempts at a segment that failed", failed_attempts.clone());
        registry.register(
            "abandoned_segments",
            "Segments given up after too many failures",
            abandoned_segments.clone(),
        );
        registry.register("sessions_opened", "Sessions of workers opened", sessions_opened.clone());
        registry.register("sessions_ended", "Sessions of workers ended", sessions_ended.clone());
        registry.register("backups", "Backups tried, by outcome", backups.clone());
        let help = "Unix time of the last backup that succeeded here, 0 for none";
        registry.register_with_unit("last_backup_timestamp", help, seconds(), last_backup.clone());
        let help = "Size of the last backup that succeeded here";
        registry.register_with_unit("last_backup", help, Unit::Bytes, last_backup_bytes.clone());
        for outcome in ["succeeded", "failed"] {
            drop(backups.get_or_create(&Outcome { outcome })); // an alert on the rate needs a first zero
        }
    }

    pub(crate) fn proposed(&self, commands: usize) {
        self.entry_commands.observe(commands as f64);
    }

    pub(crate) fn applied(&self, after: Duration, grants: bool) {
        self.proposal_seconds.observe(after.as_secs_f64());
        if grants {
            self.grant_seconds.observe(after.as_secs_f64());
        }
    }

    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::LeaseGranted { .. } => self.grants.inc(),
            Event::SegmentDone { .. } => self.settlements.inc(),
            Event::Refused { .. } => self.refused_commands.inc(),
            Event::AttemptFailed { .. } => self.failed_attempts.inc(),
            Event::SegmentAbandoned { .. } => self.abandoned_segments.inc(),
            Event::SessionOpened { .. } => self.sessions_opened.inc(),
            Event::SessionEnded { .. } => self.sessions_ended.inc(),
            Event::CorpusPut { .. }
            | Event::RulesetPut { .. }
            | Event::RulesetStateSet { .. }
            | Event::LeaseEnded { .. }
            | Event::SegmentsAppended { .. }
            | Event::ListingSettled { .. }
            | Event::CorpusDeleted { .. }
            | Event::NodeAllocated { .. } => 0,
        };
    }

    pub(crate) fn backed_up(&self, backup: Option<&Backup>) {
        let outcome = if backup.is_some() { "succeeded" } else { "failed" };
        self.backups.get_or_create(&Outcome { outcome }).inc();
        if let Some(backup) = backup {
            self.last_backup.set(backup.taken_at.as_second());
            self.last_backup_bytes.set(i64::try_from(backup.bytes).unwrap_or(i64::MAX));
        }
    }
}
