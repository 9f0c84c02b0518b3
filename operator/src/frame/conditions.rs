//! From what a controller finds to the conditions of a status.

use crd::{Condition, ConditionType, Kind, reason};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::judgement::Judgement;

/// Kubernetes refuses longer ones.
const MAX_MESSAGE: usize = 4096;

/// The conditions of `kind`, all of them, in the order of its table: what is judged anew, else what was, else `Unknown`.
///
/// `now` is written only where a status turned, so that the same judgements give the same conditions, to the byte.
pub(crate) fn merge(
    kind: Kind,
    before: &[Condition],
    judgements: &[Judgement],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let merged = kind.conditions().iter().map(|condition| {
        let old = find(before, *condition);
        match judgements.iter().find(|judgement| judgement.condition == *condition) {
            Some(judgement) => judged(judgement, old, generation, now),
            None => old.cloned().unwrap_or_else(|| {
                let nobody_knows = Judgement {
                    condition: *condition,
                    holds: None,
                    reason: reason::UNKNOWN,
                    message: "the operator has not looked yet".to_owned(),
                };
                judged(&nobody_knows, None, generation, now)
            }),
        }
    });
    merged.collect()
}

/// One condition of a status.
pub(crate) fn find(conditions: &[Condition], condition: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|existing| existing.type_ == condition.as_str())
}

fn judged(judgement: &Judgement, old: Option<&Condition>, generation: Option<i64>, now: Timestamp) -> Condition {
    let status = match judgement.holds {
        Some(true) => "True",
        Some(false) => "False",
        None => "Unknown",
    };
    let since = old.filter(|old| old.status == status).map_or(Time(now), |old| old.last_transition_time.clone());
    let mut message = judgement.message.clone();
    if message.len() > MAX_MESSAGE {
        let end = (0..=MAX_MESSAGE).rev().find(|end| message.is_char_boundary(*end)).unwrap_or(0);
        message.truncate(end);
        message.push('…');
    }
    Condition {
        type_: judgement.condition.as_str().to_owned(),
        status: status.to_owned(),
        reason: judgement.reason.to_owned(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn every_condition_is_there_from_the_first_look() {
        let conditions = merge(Kind::ScanWorker, &[], &[], Some(1), at(5));
        let types: Vec<&str> = conditions.iter().map(|condition| condition.type_.as_str()).collect();
        assert_eq!(types, ["Ready", "Progressing", "Degraded", "Paused", "ScalingActive"]);
        assert!(conditions.iter().all(|condition| condition.status == "Unknown"));
    }

    #[test]
    fn the_same_judgement_later_is_the_same_condition() {
        let ready = [Judgement::yes(ConditionType::Ready, reason::AS_EXPECTED, "all is well")];
        let first = merge(Kind::Corpus, &[], &ready, Some(1), at(5));
        assert_eq!(merge(Kind::Corpus, &first, &ready, Some(1), at(9)), first);
    }

    #[test]
    fn time_moves_when_a_status_turns_and_only_then() {
        let yes = [Judgement::yes(ConditionType::Ready, reason::AS_EXPECTED, "")];
        let other = [Judgement::yes(ConditionType::Ready, reason::ROLLING, "one of three")];
        let no = [Judgement::no(ConditionType::Ready, reason::NO_LEADER, "")];
        let first = merge(Kind::Corpus, &[], &yes, Some(1), at(5));
        let second = merge(Kind::Corpus, &first, &other, Some(2), at(6));
        let third = merge(Kind::Corpus, &second, &no, Some(2), at(7));
        let times = [&first, &second, &third].map(|conditions| conditions[0].last_transition_time.0);
        assert_eq!(times, [at(5), at(5), at(7)]);
        assert_eq!(second[0].reason, reason::ROLLING);
    }
}
