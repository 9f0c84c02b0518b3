//! The hunters' service: corpora, rulesets, hunts, findings.

use std::{collections::BTreeSet, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use protocol::{
    ConvertError,
    v1::{self, scan_server},
};
use scheduling::{Command, Event, Priority, RulesetState};
use tokio::time::sleep;
use tonic::{Request, Response, Status};
use types::{CorpusId, CorpusKey, CorpusSelection, CorpusSpec, Name, RulesetArtifact, RulesetKey, SegmentOrdinal};

use super::views;
use crate::node::Node;

/// Files above this are `too_large` unless the corpus says otherwise.
const DEFAULT_MAX_FILE_BYTES: u64 = 512 << 20;
/// libyara addresses a file with 31 bits in places; larger files are refused rather than half scanned.
const MAX_MAX_FILE_BYTES: u64 = 2_000_000_000;
const MAX_PATTERNS: usize = 64;
const MAX_PATTERN_BYTES: usize = 256;
const DEFAULT_LISTING_INTERVAL_MS: u64 = 5_000;
const MIN_LISTING_INTERVAL_MS: u64 = 100;
const DEFAULT_WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// Segments in one message of a stream.
const SEGMENTS_PER_MESSAGE: usize = 1_000;

pub(crate) struct Service(pub(crate) Arc<Node>);

type Responses<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl scan_server::Scan for Service {
    type ListSegmentsStream = Responses<v1::ListSegmentsResponse>;
    type WatchHuntsStream = Responses<v1::ListHuntsResponse>;
    type ListFindingsStream = Responses<v1::FindingsObject>;
    type ListExceptionsStream = Responses<v1::SegmentExceptions>;

    async fn put_corpus(
        &self,
        request: Request<v1::PutCorpusRequest>,
    ) -> Result<Response<v1::PutCorpusResponse>, Status> {
        let v1::PutCorpusRequest { key, url, max_file_bytes, listing_interval_ms, datasets, include, exclude } =
            request.into_inner();
        check_patterns("include", &include)?;
        check_patterns("exclude", &exclude)?;
        let key = CorpusKey::try_from(key.ok_or_else(ConvertError::missing("key"))?)?;
        if !url.starts_with("file:///") && !is_bucket(&url) {
            return Err(Status::invalid_argument(format!(
                "{url:?} is no corpus url this version reads; use file:///ABSOLUTE/PATH or s3://BUCKET/PREFIX"
            )));
        }
        let storage = self.0.store.url().trim_end_matches('/');
        if url.trim_end_matches('/') == storage || url.starts_with(&format!("{storage}/")) {
            return Err(Status::invalid_argument(format!(
                "{url:?} is in Dragnet's own object storage; hunting there would find what it wrote itself, for ever"
            )));
        }
        if max_file_bytes > MAX_MAX_FILE_BYTES {
            return Err(Status::invalid_argument(format!(
                "files of more than {MAX_MAX_FILE_BYTES} bytes cannot be scanned; choose a smaller limit"
            )));
        }
        let or = |value: u64, default: u64| if value == 0 { default } else { value };
        let spec = CorpusSpec {
            url,
            max_file_bytes: or(max_file_bytes, DEFAULT_MAX_FILE_BYTES),
            listing_interval_ms: or(listing_interval_ms, DEFAULT_LISTING_INTERVAL_MS).max(MIN_LISTING_INTERVAL_MS),
            datasets: protocol::names("datasets", datasets)?,
            include,
            exclude,
        };
        let events = self.0.propose(Command::PutCorpus { key, spec }).await?;
        let put = events.iter().find_map(|event| match event {
            Event::CorpusPut { corpus, created } => Some(v1::PutCorpusResponse { id: corpus.0, created: *created }),
            _ => None,
        });
        put.map(Response::new).ok_or_else(|| Status::internal("the corpus was not put"))
    }

    async fn delete_corpus(
        &self,
        request: Request<v1::DeleteCorpusRequest>,
    ) -> Result<Response<v1::DeleteCorpusResponse>, Status> {
        let key = request.into_inner().key.ok_or_else(ConvertError::missing("key"))?;
        let events = self.0.propose(Command::DeleteCorpus { key: CorpusKey::try_from(key)? }).await?;
        let deleted = events.iter().any(|event| matches!(event, Event::CorpusDeleted { .. }));
        Ok(Response::new(v1::DeleteCorpusResponse { deleted }))
    }

    async fn list_corpora(
        &self,
        request: Request<v1::ListCorporaRequest>,
    ) -> Result<Response<v1::ListCorporaResponse>, Status> {
        self.0.check_leads().await?;
        let tenant = request.into_inner().tenant;
        let corpora = self.0.view.read(|state| {
            let corpora = state.corpora().filter(|(_, corpus)| of_tenant(&tenant, &corpus.key.tenant.0));
            corpora.map(|(id, corpus)| views::corpus(id, corpus)).collect()
        });
        Ok(Response::new(v1::ListCorporaResponse { corpora }))
    }

    async fn list_segments(
        &self,
        request: Request<v1::ListSegmentsRequest>,
    ) -> Result<Response<Self::ListSegmentsStream>, Status> {
        self.0.check_leads().await?;
        let v1::ListSegmentsRequest { corpus_id, from_ordinal } = request.into_inner();
        let (_, state) = self.0.view.freeze();
        let corpus = state.corpus(CorpusId(corpus_id)).ok_or_else(|| Status::not_found("there is no such corpus"))?;
        let segments: Vec<_> = (from_ordinal..corpus.next_ordinal().0)
            .filter_map(|ordinal| {
                let ordinal = SegmentOrdinal(ordinal);
                Some(v1::Segment::new(ordinal, corpus.segment(ordinal)?))
            })
            .collect();
        let gone: Vec<_> = corpus
            .gone()
            .map(|(ordinal, files)| v1::SegmentFiles { ordinal: ordinal.0, files: files.iter().collect() })
            .collect();
        let segments = segments
            .chunks(SEGMENTS_PER_MESSAGE)
            .map(|chunk| v1::ListSegmentsResponse { segments: chunk.to_vec(), gone: Vec::new() })
            .collect::<Vec<_>>();
        let gone = gone
            .chunks(SEGMENTS_PER_MESSAGE)
            .map(|chunk| v1::ListSegmentsResponse { segments: Vec::new(), gone: chunk.to_vec() })
            .collect::<Vec<_>>();
        Ok(Response::new(stream::iter(segments.into_iter().chain(gone).map(Ok)).boxed()))
    }

    async fn put_ruleset(
        &self,
        request: Request<v1::PutRulesetRequest>,
    ) -> Result<Response<v1::PutRulesetResponse>, Status> {
        let request = request.into_inner();
        let priority = priority(request.priority());
        let v1::PutRulesetRequest { key, artifact, corpora, priority: _ } = request;
        let key = RulesetKey::try_from(key.ok_or_else(ConvertError::missing("key"))?)?;
        let corpora = selection(corpora)?;
        self.0.check_leads().await?;
        let (artifact, bytes) = check_artifact(artifact).await?;
        let digest = artifact.digest();
        // The sources are durable before the log names them.
        let object = store::keys::ruleset(&digest);
        self.0.store.put(&object, bytes).await.map_err(|error| {
            let why = format!("the object storage does not take the ruleset: {}", error.in_brief());
            tracing::error!(%error, object, "{why}");
            // Credentials that are wrong stay wrong: whoever asks is to hear of it and not to try again.
            if error.is_retryable() { Status::unavailable(why) } else { Status::permission_denied(why) }
        })?;
        let source_bytes = artifact.source_bytes() as u64;
        let units = artifact.unit_digests();
        let command = Command::PutRuleset { key, digest, units, corpora, source_bytes, priority };
        let events = self.0.propose(command).await?;
        let put = events.iter().find_map(|event| match event {
            Event::RulesetPut { ruleset, version, created } => Some((*ruleset, *version, *created)),
            _ => None,
        });
        let (id, number, created) = put.ok_or_else(|| Status::internal("the ruleset was not put"))?;
        let version = self.0.view.read(|state| state.ruleset(id).and_then(|ruleset| ruleset.version(number)).cloned());
        let version = version.ok_or_else(|| Status::internal("the version is not there"))?;
        Ok(Response::new(v1::PutRulesetResponse {
            id: id.0,
            version: views::version(&version).version,
            created,
            units_new: version.units_new,
            units_carried: version.units_carried,
        }))
    }

    async fn list_rulesets(
        &self,
        request: Request<v1::ListRulesetsRequest>,
    ) -> Result<Response<v1::ListRulesetsResponse>, Status> {
        self.0.check_leads().await?;
        let tenant = request.into_inner().tenant;
        let rulesets = self.0.view.read(|state| {
            let rulesets = state.rulesets().filter(|(_, ruleset)| of_tenant(&tenant, &ruleset.key.tenant.0));
            rulesets.map(|(id, ruleset)| views::ruleset(id, ruleset)).collect()
        });
        Ok(Response::new(v1::ListRulesetsResponse { rulesets }))
    }

    async fn set_ruleset_state(
        &self,
        request: Request<v1::SetRulesetStateRequest>,
    ) -> Result<Response<v1::SetRulesetStateResponse>, Status> {
        let request = request.into_inner();
        let state = match request.state() {
            v1::RulesetState::Active => RulesetState::Active,
            v1::RulesetState::Paused => RulesetState::Paused,
            v1::RulesetState::Retired => RulesetState::Retired,
            v1::RulesetState::Unspecified => {
                return Err(ConvertError::Unknown { field: "state", value: request.state }.into());
            }
        };
        let key = RulesetKey::try_from(request.key.ok_or_else(ConvertError::missing("key"))?)?;
        self.0.propose(Command::SetRulesetState { key, state }).await?;
        Ok(Response::new(v1::SetRulesetStateResponse {}))
    }

    async fn list_hunts(
        &self,
        request: Request<v1::ListHuntsRequest>,
    ) -> Result<Response<v1::ListHuntsResponse>, Status> {
        self.0.check_leads().await?;
        let v1::ListHuntsRequest { tenant, include_superseded } = request.into_inner();
        let (index, state) = self.0.view.freeze();
        Ok(Response::new(views::hunts(index, &state, &tenant, include_superseded)))
    }

    async fn watch_hunts(
        &self,
        request: Request<v1::WatchHuntsRequest>,
    ) -> Result<Response<Self::WatchHuntsStream>, Status> {
        self.0.check_leads().await?;
        let v1::WatchHuntsRequest { tenant, interval_ms, include_superseded } = request.into_inner();
        let interval = match interval_ms {
            0 => DEFAULT_WATCH_INTERVAL,
            ms => Duration::from_millis(ms.clamp(20, 3_600_000)),
        };
        let node = Arc::clone(&self.0);
        let applied = node.view.watch_applied();
        let stop = node.stop.clone();
        let hunts = stream::unfold((node, applied, true), move |(node, mut applied, first)| {
            let tenant = tenant.clone();
            async move {
                if !first {
                    sleep(interval).await;
                    applied.changed().await.ok()?;
                }
                applied.borrow_and_update();
                if let Err(status) = node.check_leads().await {
                    return Some((Err(status), (node, applied, false)));
                }
                let (index, state) = node.view.freeze();
                let hunts = views::hunts(index, &state, &tenant, include_superseded);
                Some((Ok(hunts), (node, applied, false)))
            }
        });
        Ok(Response::new(hunts.take_until(stop.cancelled_owned()).boxed()))
    }

    async fn list_findings(
        &self,
        request: Request<v1::ListFindingsRequest>,
    ) -> Result<Response<Self::ListFindingsStream>, Status> {
        self.0.check_leads().await?;
        let v1::ListFindingsRequest { tenant, ruleset, corpus } = request.into_inner();
        let (_, state) = self.0.view.freeze();
        let wanted = views::Wanted { tenant: &tenant, ruleset: &ruleset, corpus: &corpus };
        let objects = wanted.findings(&state, self.0.store.url());
        Ok(Response::new(stream::iter(objects.into_iter().map(Ok)).boxed()))
    }

    async fn list_exceptions(
        &self,
        request: Request<v1::ListExceptionsRequest>,
    ) -> Result<Response<Self::ListExceptionsStream>, Status> {
        self.0.check_leads().await?;
        let v1::ListExceptionsRequest { tenant, ruleset, corpus } = request.into_inner();
        let (_, state) = self.0.view.freeze();
        let wanted = views::Wanted { tenant: &tenant, ruleset: &ruleset, corpus: &corpus };
        let segments = wanted.exceptions(&state, self.0.store.url());
        Ok(Response::new(stream::iter(segments.into_iter().map(Ok)).boxed()))
    }
}

fn priority(priority: v1::RulesetPriority) -> Priority {
    match priority {
        v1::RulesetPriority::Unspecified | v1::RulesetPriority::Sweep => Priority::Sweep,
        v1::RulesetPriority::Background => Priority::Background,
        v1::RulesetPriority::Urgent => Priority::Urgent,
    }
}

fn check_patterns(field: &str, patterns: &[String]) -> Result<(), Status> {
    let fits = |pattern: &String| (1..=MAX_PATTERN_BYTES).contains(&pattern.len());
    if patterns.len() <= MAX_PATTERNS && patterns.iter().all(fits) {
        return Ok(());
    }
    let text = format!("{field} has at most {MAX_PATTERNS} patterns of 1 to {MAX_PATTERN_BYTES} bytes");
    Err(Status::invalid_argument(text))
}

/// `s3://` with the name of a bucket; what is in it only the workers can see.
fn is_bucket(url: &str) -> bool {
    let rest = url.strip_prefix("s3://").unwrap_or_default();
    let name = rest.split('/').next().unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    (3..=63).contains(&name.len()) && name.bytes().all(allowed) && !rest.contains(['?', '#'])
}

fn of_tenant(wanted: &str, tenant: &Name) -> bool {
    wanted.is_empty() || wanted == tenant.as_str()
}

fn selection(corpora: Vec<String>) -> Result<CorpusSelection, Status> {
    if corpora.is_empty() {
        return Ok(CorpusSelection::All);
    }
    let names = corpora.into_iter().map(Name::new).collect::<Result<BTreeSet<_>, _>>();
    names.map(CorpusSelection::Named).map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Reads and checks an artifact off the async threads; it may be tens of megabytes.
async fn check_artifact(bytes: Vec<u8>) -> Result<(RulesetArtifact, Bytes), Status> {
    let checked = tokio::task::spawn_blocking(move || {
        let artifact: RulesetArtifact = serde_json::from_slice(&bytes)
            .map_err(|error| Status::invalid_argument(format!("the ruleset's artifact is not readable: {error}")))?;
        artifact.validate().map_err(|error| Status::invalid_argument(error.to_string()))?;
        Ok((artifact, Bytes::from(bytes)))
    });
    checked.await.map_err(|error| Status::internal(error.to_string()))?
}
