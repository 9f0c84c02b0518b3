//! What may still be found: files without an answer, files that nobody knows of.

use std::collections::BTreeMap;

use protocol::v1;
use types::Name;

use crate::{
    commands::known::{is, name},
    render::plural,
};

/// Hunts whose findings were asked for. Those of retired rulesets owe nothing.
pub(super) fn concerned(hunts: Vec<v1::Hunt>, ruleset: Option<&Name>, corpus: Option<&Name>) -> Vec<v1::Hunt> {
    let wanted = |key: Option<&v1::Key>, wanted: Option<&Name>| wanted.is_none_or(|name| is(key, name.as_str()));
    let owes = |state| !matches!(state, v1::HuntState::Retired | v1::HuntState::Superseded);
    let concerned = hunts.into_iter().filter(|hunt| {
        owes(hunt.state()) && wanted(hunt.ruleset.as_ref(), ruleset) && wanted(hunt.corpus.as_ref(), corpus)
    });
    concerned.collect()
}

/// Why the findings may not be all; empty when each file there is has its answer.
pub(super) fn reasons(hunts: &[v1::Hunt]) -> Vec<String> {
    let mut reasons = Vec::new();
    let owing: Vec<_> = hunts.iter().filter(|hunt| hunt.pending_files > 0).collect();
    let pending = owing.iter().map(|hunt| hunt.pending_files).sum();
    match owing.len() {
        0 => {}
        1 => reasons.push(format!("{} pending", plural(pending, "file"))),
        // One file may be pending in several of them.
        owing => reasons.push(format!("{} pending, summed over {owing} hunts", plural(pending, "file"))),
    }
    let corpora: BTreeMap<&str, &v1::Hunt> = hunts.iter().map(|hunt| (name(hunt.corpus.as_ref()), hunt)).collect();
    for (corpus, hunt) in corpora {
        if !hunt.listing_error.is_empty() {
            reasons.push(format!("listing corpus {corpus} failed: {}", hunt.listing_error));
        } else if !hunt.listed_once {
            reasons.push(format!("corpus {corpus} is being listed for the first time"));
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hunt(corpus: &str, pending_files: u64) -> v1::Hunt {
        let corpus = Some(v1::Key { tenant: "default".to_owned(), name: corpus.to_owned() });
        v1::Hunt { corpus, pending_files, listed_once: true, ..v1::Hunt::default() }
    }

    #[test]
    fn pending_files_and_unknown_files_are_told() {
        assert!(reasons(&[hunt("a", 0)]).is_empty());
        assert_eq!(reasons(&[hunt("a", 0), hunt("b", 1)]), ["1 file pending"]);
        assert_eq!(reasons(&[hunt("a", 3), hunt("b", 4)]), ["7 files pending, summed over 2 hunts"]);
        let failing = v1::Hunt { listing_error: "it is gone".to_owned(), ..hunt("a", 0) };
        let fresh = v1::Hunt { listed_once: false, ..hunt("b", 0) };
        let told = ["listing corpus a failed: it is gone", "corpus b is being listed for the first time"];
        assert_eq!(reasons(&[failing, fresh]), told);
    }

    #[test]
    fn retired_hunts_owe_nothing() {
        let retired = v1::Hunt { state: v1::HuntState::Retired.into(), ..hunt("a", 5) };
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        assert!(concerned(vec![retired], None, None).is_empty());
        assert_eq!(concerned(vec![hunt("a", 5)], None, Some(&a)).len(), 1);
        assert!(concerned(vec![hunt("a", 5)], None, Some(&b)).is_empty());
    }
}
