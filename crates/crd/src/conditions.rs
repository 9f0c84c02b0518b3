//! Conditions: one table of which kind has which, what `True` means, and every reason there is.
//!
//! `Ready`, `Progressing`, `Degraded` and `Paused` are on every kind from the first time the operator sees it, so that
//! `kubectl wait --for=condition=Ready` has something to wait for. A message names the field and the remedy.

use std::fmt;

pub use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use ConditionType::{
    BackupHealthy, Complete, Degraded, Listed, Paused, Progressing, QuorumHealthy, Ready, RulesValid, ScalingActive,
    SourceBuilt,
};

/// A custom resource of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Orchestrator,
    ScanWorker,
    BatchDataset,
    Corpus,
    YaraRuleset,
}

/// Every kind, in the order in which one would create them.
pub const KINDS: [Kind; 5] =
    [Kind::Orchestrator, Kind::ScanWorker, Kind::BatchDataset, Kind::Corpus, Kind::YaraRuleset];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    Ready,
    Progressing,
    Degraded,
    Paused,
    QuorumHealthy,
    BackupHealthy,
    ScalingActive,
    SourceBuilt,
    Listed,
    RulesValid,
    Complete,
}

impl ConditionType {
    pub fn as_str(self) -> &'static str {
        match self {
            Ready => "Ready",
            Progressing => "Progressing",
            Degraded => "Degraded",
            Paused => "Paused",
            QuorumHealthy => "QuorumHealthy",
            BackupHealthy => "BackupHealthy",
            ScalingActive => "ScalingActive",
            SourceBuilt => "SourceBuilt",
            Listed => "Listed",
            RulesValid => "RulesValid",
            Complete => "Complete",
        }
    }

    /// What `True` says.
    pub fn meaning(self) -> &'static str {
        match self {
            Ready => "it does what its spec says, for the generation observed",
            Progressing => "the operator is changing something, or waits for a change to take effect",
            Degraded => "something is wrong that needs a look: the message says what, and what to do",
            Paused => "the operator changes nothing, because spec.paused says so; status goes on",
            QuorumHealthy => "a majority of members answers, agrees on a leader and has caught up",
            BackupHealthy => "the newest backup is not older than twice its interval",
            ScalingActive => "the number of pods follows the backlog",
            SourceBuilt => "the newest build of the source succeeded",
            Listed => "the corpus was listed whole at least once, and the last listing did not fail",
            RulesValid => "all rules compile",
            Complete => "every stored file of every corpus has an answer at this version",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Kind {
    /// The conditions that its status always has.
    pub fn conditions(self) -> &'static [ConditionType] {
        match self {
            Self::Orchestrator => &[Ready, Progressing, Degraded, Paused, QuorumHealthy, BackupHealthy],
            Self::ScanWorker => &[Ready, Progressing, Degraded, Paused, ScalingActive],
            Self::BatchDataset => &[Ready, Progressing, Degraded, Paused, SourceBuilt],
            Self::Corpus => &[Ready, Progressing, Degraded, Paused, Listed],
            Self::YaraRuleset => &[Ready, Progressing, Degraded, Paused, RulesValid, Complete],
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orchestrator => "Orchestrator",
            Self::ScanWorker => "ScanWorker",
            Self::BatchDataset => "BatchDataset",
            Self::Corpus => "Corpus",
            Self::YaraRuleset => "YaraRuleset",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reasons: words for programs. What they say is stable; the message beside them is for people and is not.
pub mod reason {
    /// All is as it should be.
    pub const AS_EXPECTED: &str = "AsExpected";
    /// Nothing was asked for, so there is nothing to judge.
    pub const NOT_CONFIGURED: &str = "NotConfigured";
    /// The operator has not looked yet, or could not.
    pub const UNKNOWN: &str = "Unknown";
    /// `spec.paused` is true.
    pub const PAUSED_BY_SPEC: &str = "PausedBySpec";
    /// The object as stored cannot be used; the message names the field.
    pub const INVALID_SPEC: &str = "InvalidSpec";
    /// Something that is referred to does not exist.
    pub const REFERENCE_NOT_FOUND: &str = "ReferenceNotFound";
    /// No Orchestrator is named, and the namespace does not have exactly one.
    pub const ORCHESTRATOR_AMBIGUOUS: &str = "OrchestratorAmbiguous";
    /// The Orchestrator does not answer.
    pub const ORCHESTRATOR_UNREACHABLE: &str = "OrchestratorUnreachable";
    /// A Secret is missing, or a key in it.
    pub const SECRET_MISSING: &str = "SecretMissing";
    /// The object storage refuses: credentials or permissions are not right.
    pub const STORAGE_REFUSED: &str = "StorageRefused";
    /// An object of that name exists and is not ours.
    pub const NAME_TAKEN: &str = "NameTaken";
    /// The API server refused what we wrote.
    pub const API_REFUSED: &str = "ApiRefused";
    /// Pods do not start: image, volume, or no room. The message has Kubernetes' own.
    pub const PODS_NOT_STARTING: &str = "PodsNotStarting";
    /// Pods are being made or do not answer yet.
    pub const WAITING_FOR_PODS: &str = "WaitingForPods";
    /// Pods are being replaced one by one.
    pub const ROLLING: &str = "Rolling";
    /// Members or pods are being added or removed.
    pub const SCALING: &str = "Scaling";
    /// Volumes are being made larger.
    pub const RESIZING: &str = "Resizing";
    /// A volume cannot be made larger.
    pub const RESIZE_REFUSED: &str = "ResizeRefused";
    /// A new cluster is being founded.
    pub const BOOTSTRAPPING: &str = "Bootstrapping";
    /// A cluster is being restored from a backup.
    pub const RECOVERING: &str = "Recovering";
    /// The instruction to recover cannot be followed.
    pub const RECOVERY_FAILED: &str = "RecoveryFailed";
    /// Too few members are left to agree; only an explicit instruction will heal it.
    pub const QUORUM_LOST: &str = "QuorumLost";
    /// Members answer, but no leader is known.
    pub const NO_LEADER: &str = "NoLeader";
    /// Fewer members are caught up than there should be; a majority still is.
    pub const MEMBER_UNHEALTHY: &str = "MemberUnhealthy";
    /// The volume of a member came back empty, and it is being replaced.
    pub const MEMBER_REPLACED: &str = "MemberReplaced";
    /// The newest backup is too old.
    pub const BACKUP_OVERDUE: &str = "BackupOverdue";
    /// The last backup failed.
    pub const BACKUP_FAILED: &str = "BackupFailed";
    /// The pod template differs because the operator is newer; it waits for its turn.
    pub const UPGRADE_STAGED: &str = "UpgradeStaged";
    /// The limit of `autoscaling.minReplicas` or `maxReplicas` is reached.
    pub const SCALING_LIMITED: &str = "ScalingLimited";
    /// The number of pods was set by hand a moment ago.
    pub const SCALED_BY_HAND: &str = "ScaledByHand";
    /// A build is running.
    pub const BUILDING: &str = "Building";
    /// A build failed.
    pub const BUILD_FAILED: &str = "BuildFailed";
    /// A version is being brought to the servers.
    pub const ROLLING_OUT: &str = "RollingOut";
    /// A version was stopped and the one before serves.
    pub const ROLLED_BACK: &str = "RolledBack";
    /// The version that was asked for does not exist.
    pub const VERSION_NOT_FOUND: &str = "VersionNotFound";
    /// No version exists yet.
    pub const NO_VERSION: &str = "NoVersion";
    /// A listing is under way.
    pub const LISTING: &str = "Listing";
    /// The last listing failed.
    pub const LISTING_FAILED: &str = "ListingFailed";
    /// Rules do not compile; the message has the first mistake, with line and column.
    pub const RULES_BROKEN: &str = "RulesBroken";
    /// The rules are larger than a version may be.
    pub const RULES_TOO_LARGE: &str = "RulesTooLarge";
    /// Files are being scanned.
    pub const SCANNING: &str = "Scanning";
    /// `spec.expires` has passed.
    pub const EXPIRED: &str = "Expired";
    /// The object is being deleted, and what it stands for is being taken back.
    pub const DELETING: &str = "Deleting";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_says_whether_it_is_ready_moving_wrong_or_paused() {
        for kind in KINDS {
            assert_eq!(kind.conditions()[..4], [Ready, Progressing, Degraded, Paused], "{kind}");
        }
    }
}
