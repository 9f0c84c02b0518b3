use super::Step;
use crate::Event;

pub(super) fn check(step: &Step<'_>) {
    for (corpus, _) in step.before.corpora() {
        if step.after.corpus(corpus).is_none() {
            continue;
        }
        for (ruleset, coverage) in step.before.coverage_of(corpus) {
            let after = step.after.coverage(corpus, ruleset).expect("coverage goes with its corpus only");
            for (segment, before) in coverage.attempts() {
                let done = step.events.iter().any(|event| {
                    matches!(event, Event::SegmentDone { corpus: c, segment: s, ruleset: r, .. }
                        if (*c, *s, *r) == (corpus, segment, ruleset))
                });
                let new_version = step
                    .events
                    .iter()
                    .any(|event| matches!(event, Event::RulesetPut { ruleset: r, created: true, .. } if *r == ruleset));
                let now = after.attempts_of(segment);
                let grown = now.acquired >= before.acquired && now.failed >= before.failed && now.lost >= before.lost;
                assert!(done || new_version || grown, "{before:?} became {now:?}");
                assert!(!done || now == Default::default(), "done, yet {now:?}");
            }
        }
    }
}
