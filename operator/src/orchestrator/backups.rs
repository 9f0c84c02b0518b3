//! Backups by interval: asked of the leader, which writes them itself.

use crd::{BackupStatus, Orchestrator};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{cluster::Peer, observe::host, observed::Observed};
use crate::{
    fail_point,
    frame::{Context, Error},
};

/// After one that failed.
const RETRY: SignedDuration = SignedDuration::from_secs(60);

/// What the status is to say of backups; writes one if it is due.
pub(crate) async fn look(ctx: &Context, observed: &Observed, failed_at: Option<Timestamp>) -> Option<BackupStatus> {
    let orchestrator = &observed.resource;
    let before = orchestrator.status.as_ref().and_then(|status| status.backup.clone());
    let spec = orchestrator.spec.backup.as_ref()?;
    let Some((leading, _)) = observed.leader() else { return before };
    let interval = SignedDuration::try_from(spec.interval.duration().ok()?).ok()?;
    if !due(before.as_ref(), interval, failed_at, observed.now) {
        return before;
    }
    match write(ctx, orchestrator, before.as_ref(), leading, interval, observed.now).await {
        Ok(status) => Some(status),
        Err(error) => {
            let credentials =
                if spec.credentials.is_some() { "spec.backup.credentials" } else { "the credentials of spec.storage" };
            let message = format!("{}; check spec.backup.url and {credentials}", error.words());
            Some(BackupStatus { error: Some(message), ..before.unwrap_or_default() })
        }
    }
}

/// Whether it is time for another one.
fn due(before: Option<&BackupStatus>, interval: SignedDuration, failed_at: Option<Timestamp>, now: Timestamp) -> bool {
    if failed_at.is_some_and(|at| now.duration_since(at) < RETRY.min(interval)) {
        return false;
    }
    let last = before.and_then(|backup| backup.last_time.as_ref());
    // One in the future was written by a clock that was wrong.
    last.is_none_or(|last| last.0 > now || now.duration_since(last.0) >= interval)
}

/// Whether the newest backup in storage is this interval's: written by an operator that was ended before its status told of it. Its time is
/// by the leader's clock.
fn is_of_now(
    before: Option<&BackupStatus>,
    newest: (&str, Timestamp),
    interval: SignedDuration,
    now: Timestamp,
) -> bool {
    let (url, taken_at) = newest;
    let is_told = before.and_then(|before| before.last_url.as_deref()) == Some(url);
    !is_told && now.duration_since(taken_at).abs() < interval
}

async fn write(
    ctx: &Context,
    orchestrator: &Orchestrator,
    before: Option<&BackupStatus>,
    leading: i32,
    interval: SignedDuration,
    now: Timestamp,
) -> Result<BackupStatus, Error> {
    let Some(spec) = &orchestrator.spec.backup else { return Ok(BackupStatus::default()) };
    let host = host(ctx, orchestrator, leading).ok_or_else(|| Error::Other("the leader has no address".to_owned()))?;
    let mut leader = Peer::new(&host)?;
    let mut stored = leader.backups(&spec.url).await?;
    let newest = stored.first().and_then(|backup| Some((backup.url.as_str(), time_of(backup.taken_at_ms)?)));
    if newest.is_none_or(|newest| !is_of_now(before, newest, interval, now)) {
        leader.backup(&spec.url, spec.keep.unsigned_abs()).await?;
        fail_point::reach(fail_point::AFTER_BACKUP);
        stored = leader.backups(&spec.url).await?;
    }
    let newest = stored.first();
    // A state that has not changed is not written again; that it was looked at is what counts.
    let looked = Time(now);
    Ok(BackupStatus {
        last_url: newest.map(|backup| backup.url.clone()),
        last_time: Some(looked),
        last_index: newest.and_then(|backup| i64::try_from(backup.index).ok()),
        kept: i32::try_from(stored.len()).unwrap_or(i32::MAX),
        error: None,
    })
}

fn time_of(ms: u64) -> Option<Timestamp> {
    Timestamp::from_millisecond(i64::try_from(ms).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn last(second: i64) -> BackupStatus {
        BackupStatus { last_time: Some(Time(at(second))), ..BackupStatus::default() }
    }

    #[test]
    fn a_backup_is_due_once_in_an_interval() {
        let hour = SignedDuration::from_hours(1);
        assert!(due(None, hour, None, at(0)));
        assert!(!due(Some(&last(0)), hour, None, at(3599)));
        assert!(due(Some(&last(0)), hour, None, at(3600)));
    }

    #[test]
    fn clocks_that_were_wrong_do_not_keep_a_backup_from_being_due() {
        let hour = SignedDuration::from_hours(1);
        assert!(due(Some(&last(1_000_000)), hour, None, at(0)));
        let told = |url: &str| BackupStatus { last_url: Some(url.to_owned()), ..BackupStatus::default() };
        assert!(is_of_now(Some(&told("a")), ("b", at(10)), hour, at(20)), "written, and not told of");
        assert!(is_of_now(None, ("b", at(30)), hour, at(20)), "by a clock that is ahead");
        assert!(
            !is_of_now(Some(&told("b")), ("b", at(9000)), hour, at(3600)),
            "told of, whatever the leader's clock says"
        );
        assert!(!is_of_now(None, ("b", at(0)), hour, at(3600)), "of a life before");
    }

    #[test]
    fn one_that_failed_is_tried_again_after_a_minute() {
        let hour = SignedDuration::from_hours(1);
        assert!(!due(Some(&last(0)), hour, Some(at(4000)), at(4059)));
        assert!(due(Some(&last(0)), hour, Some(at(4000)), at(4060)));
    }
}
