//! What a Corpus comes to in the cluster, and what its status says: decided from values alone.

use crd::{
    ConditionType::{Degraded, Listed, Paused, Progressing, Ready},
    CorpusSpec, CorpusStatus, bytes_of, reason,
};
use protocol::v1;

use crate::{
    judgement::Judgement,
    ruleset::status::{cut, number},
};

/// The request that makes the corpus be what the spec says; its tenant is filled in by whoever sends it.
///
/// Errors: a field that cannot be read, which the schema refuses; so it is older than that rule.
pub(crate) fn request(name: &str, spec: &CorpusSpec) -> Result<v1::PutCorpusRequest, String> {
    let bytes = bytes_of(&spec.max_file_size).and_then(|bytes| u64::try_from(bytes).ok());
    let max_file_bytes =
        bytes.ok_or_else(|| format!("spec.maxFileSize: {:?} is no number of bytes", spec.max_file_size.0))?;
    let interval = spec.listing_interval.duration().map_err(|error| format!("spec.listingInterval: {error}"))?;
    Ok(v1::PutCorpusRequest {
        key: Some(v1::Key { tenant: String::new(), name: name.to_owned() }),
        url: spec.url.clone(),
        max_file_bytes,
        listing_interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
        datasets: spec.datasets.clone(),
        include: spec.include.clone(),
        exclude: spec.exclude.clone(),
    })
}

/// Whether the cluster has it as it should be, as far as it tells.
pub(crate) fn is_same(wanted: &v1::PutCorpusRequest, has: &v1::Corpus) -> bool {
    let v1::PutCorpusRequest { key: _, url, max_file_bytes, listing_interval_ms, datasets, include, exclude } = wanted;
    (url, max_file_bytes, listing_interval_ms, datasets, include, exclude)
        == (&has.url, &has.max_file_bytes, &has.listing_interval_ms, &has.datasets, &has.include, &has.exclude)
}

/// All that is known when the status is written.
pub(crate) struct Known<'a> {
    pub(crate) spec: &'a CorpusSpec,
    pub(crate) generation: Option<i64>,
    pub(crate) orchestrator: &'a str,
    pub(crate) state: State<'a>,
    /// BatchDatasets that the spec names and the namespace does not have.
    pub(crate) missing_datasets: &'a [String],
}

/// How far it is.
pub(crate) enum State<'a> {
    /// The cluster has it.
    There(&'a v1::Corpus),
    /// It was put, and is not seen yet.
    Coming,
    /// Nobody answers.
    Silent,
    /// The spec cannot be used, or the cluster does not want it.
    Refused(&'a str),
    /// Paused before it was ever put.
    NeverPut,
}

pub(crate) fn status(known: &Known<'_>) -> (CorpusStatus, Vec<Judgement>) {
    let mut status = CorpusStatus {
        observed_generation: known.generation,
        orchestrator: Some(known.orchestrator.to_owned()),
        ..CorpusStatus::default()
    };
    if let State::There(corpus) = known.state {
        let v1::Skipped { special, symlinks, unreadable, vanished } = corpus.skipped.unwrap_or_default();
        status.files = number(corpus.files);
        status.bytes = number(corpus.bytes);
        status.gone = number(corpus.gone_files);
        status.segments = i64::from(corpus.segments);
        status.skipped = number(special + symlinks + unreadable + vanished);
    }
    let judgements = judge(known);
    (status, judgements)
}

fn judge(known: &Known<'_>) -> Vec<Judgement> {
    let listed = listed(known);
    let silent = || format!("Orchestrator {} does not answer; see its conditions", known.orchestrator);
    let ready = match known.state {
        State::There(_) if listed.reason == reason::LISTING_FAILED => {
            Judgement::no(Ready, reason::LISTING_FAILED, listed.message.clone())
        }
        State::There(_) => Judgement::yes(Ready, reason::AS_EXPECTED, "its files are kept under examination"),
        State::Coming => Judgement::no(Ready, reason::UNKNOWN, "the Orchestrator has been told of it"),
        State::Silent => Judgement::no(Ready, reason::ORCHESTRATOR_UNREACHABLE, silent()),
        State::Refused(why) => Judgement::no(Ready, reason::INVALID_SPEC, why),
        State::NeverPut => {
            Judgement::no(Ready, reason::PAUSED_BY_SPEC, "spec.paused is true since before it was known")
        }
    };
    let progressing = match known.state {
        State::There(_) if listed.reason == reason::LISTING => {
            Judgement::yes(Progressing, reason::LISTING, "the first listing is under way or waits for a worker")
        }
        State::Coming | State::Silent => Judgement::yes(Progressing, reason::UNKNOWN, "the Orchestrator is asked"),
        State::There(_) | State::Refused(_) | State::NeverPut => Judgement::no(Progressing, reason::AS_EXPECTED, ""),
    };
    let degraded = match known.state {
        State::Silent => Judgement::yes(Degraded, reason::ORCHESTRATOR_UNREACHABLE, silent()),
        State::Refused(why) => Judgement::yes(Degraded, reason::INVALID_SPEC, why),
        State::There(_) if listed.reason == reason::LISTING_FAILED => {
            Judgement::yes(Degraded, reason::LISTING_FAILED, listed.message.clone())
        }
        _ if !known.missing_datasets.is_empty() => {
            let message = format!(
                "spec.datasets: there is no BatchDataset {} in this namespace; what it knows is missing from findings until it is created",
                known.missing_datasets.join(", ")
            );
            Judgement::yes(Degraded, reason::REFERENCE_NOT_FOUND, message)
        }
        State::There(_) | State::Coming | State::NeverPut => Judgement::no(Degraded, reason::AS_EXPECTED, ""),
    };
    let paused = match known.spec.paused {
        true => Judgement::yes(Paused, reason::PAUSED_BY_SPEC, "spec.paused is true; changes wait, listings go on"),
        false => Judgement::no(Paused, reason::AS_EXPECTED, ""),
    };
    vec![ready, progressing, degraded, paused, listed]
}

fn listed(known: &Known<'_>) -> Judgement {
    match known.state {
        State::There(corpus) if !corpus.listing_error.is_empty() => {
            let message = format!("new files are not found: {}", cut(&corpus.listing_error));
            Judgement::no(Listed, reason::LISTING_FAILED, message)
        }
        State::There(corpus) if corpus.last_listed_at_ms.is_some() => {
            let v1::Skipped { special, symlinks, unreadable, vanished } = corpus.skipped.unwrap_or_default();
            let message = match special + symlinks + unreadable + vanished {
                0 => "every file below the URL is stored".to_owned(),
                _ => format!(
                    "left out: {special} that are no files, {symlinks} links, {unreadable} that cannot be read, {vanished} that \
                     vanished meanwhile"
                ),
            };
            Judgement::yes(Listed, reason::AS_EXPECTED, message)
        }
        State::There(_) => {
            let message = "the first listing has not ended; it takes a ScanWorker that is ready";
            Judgement::no(Listed, reason::LISTING, message)
        }
        State::Coming | State::Silent | State::Refused(_) | State::NeverPut => Judgement {
            condition: Listed,
            holds: None,
            reason: reason::UNKNOWN,
            message: "nobody has told yet".to_owned(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> CorpusSpec {
        let spec = serde_json::json!({"url": "s3://samples/in", "maxFileSize": "1Mi", "listingInterval": "1m", "datasets": ["known"]});
        serde_json::from_value(spec).unwrap()
    }

    fn there() -> v1::Corpus {
        v1::Corpus {
            url: "s3://samples/in".into(),
            max_file_bytes: 1 << 20,
            listing_interval_ms: 60_000,
            datasets: vec!["known".into()],
            files: 7,
            bytes: 700,
            segments: 1,
            last_listed_at_ms: Some(1),
            skipped: Some(v1::Skipped { symlinks: 2, ..v1::Skipped::default() }),
            ..v1::Corpus::default()
        }
    }

    fn conditions(state: State<'_>, missing: &[String]) -> String {
        let spec = spec();
        let known = Known { spec: &spec, generation: Some(1), orchestrator: "main", state, missing_datasets: missing };
        let said = |it: Judgement| {
            let holds = it.holds.map_or("?", |holds| if holds { "+" } else { "-" });
            format!("{}{holds}{}", it.condition, it.reason)
        };
        status(&known).1.into_iter().map(said).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_request_says_what_the_spec_says() {
        let wanted = request("in", &spec()).unwrap();
        assert!(is_same(&wanted, &there()));
        assert!(!is_same(&wanted, &v1::Corpus { max_file_bytes: 1, ..there() }));
        let mut unreadable = spec();
        unreadable.max_file_size.0 = "much".into();
        assert!(request("in", &unreadable).unwrap_err().contains("spec.maxFileSize"));
    }

    #[test]
    fn a_listed_corpus_is_ready() {
        let expected =
            "Ready+AsExpected Progressing-AsExpected Degraded-AsExpected Paused-AsExpected Listed+AsExpected";
        assert_eq!(conditions(State::There(&there()), &[]), expected);
        let new = v1::Corpus { last_listed_at_ms: None, ..there() };
        let expected = "Ready+AsExpected Progressing+Listing Degraded-AsExpected Paused-AsExpected Listed-Listing";
        assert_eq!(conditions(State::There(&new), &[]), expected);
    }

    #[test]
    fn what_goes_wrong_is_told() {
        let failing = v1::Corpus { listing_error: "no such bucket".into(), ..there() };
        let expected =
            "Ready-ListingFailed Progressing-AsExpected Degraded+ListingFailed Paused-AsExpected Listed-ListingFailed";
        assert_eq!(conditions(State::There(&failing), &[]), expected);
        let expected = "Ready-InvalidSpec Progressing-AsExpected Degraded+InvalidSpec Paused-AsExpected Listed?Unknown";
        assert_eq!(conditions(State::Refused("no"), &[]), expected);
        let expected = "Ready-OrchestratorUnreachable Progressing+Unknown Degraded+OrchestratorUnreachable Paused-AsExpected \
                        Listed?Unknown";
        assert_eq!(conditions(State::Silent, &[]), expected);
        let missing = conditions(State::There(&there()), &["known".to_owned()]);
        assert!(missing.contains("Degraded+ReferenceNotFound") && missing.starts_with("Ready+"), "{missing}");
    }
}
