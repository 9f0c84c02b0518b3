//! Discovery: finds new, changed and vanished files of a corpus and turns them into segments.
//!
//! ```text
//!  leader: ListSegments ──► Memory of what is stored ─┐
//!  corpus folder ──► walk (own thread) ──► diff ──► packer ──► manifests ──► storage, then AppendSegments
//! ```
//!
//! Segments are told as they fill, so that scanning begins while the walk goes on. What is gone can only be
//! told at the end, and only by a walk that was complete.

mod memory;
mod walk;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use corpus::Manifest;
use protocol::{client::LeaderClient, v1};
use store::{Store, keys};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use types::{CorpusId, FileOrdinal, LeaseId, SegmentDescriptor, SegmentOrdinal, Skipped};

use crate::{
    job::{Corpus, chain},
    leader::{self, Answered},
    metrics::JobEnd,
    origin::{self, Buckets},
};
use memory::Memory;
use walk::Walked;

/// Full segments between the walk and the storage: a megabyte each at most in memory.
const SEGMENTS_AHEAD: usize = 4;
/// Segments told in one message, at most.
const SEGMENTS_PER_APPEND: usize = 64;
/// Gone files told in one message, at most: some hundred kilobytes.
const GONE_FILES_PER_APPEND: usize = 65_536;
/// The leader answers ListSegments from memory.
const LIST_SEGMENTS_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the stored segments cannot be listed")]
    Leader(#[from] protocol::client::Error),
    #[error(transparent)]
    Memory(#[from] memory::Error),
    #[error(transparent)]
    Origin(#[from] origin::Error),
    #[error("a manifest cannot be written")]
    Store(#[from] store::Error),
    #[error("a helper task ended")]
    Task(#[from] tokio::task::JoinError),
    #[error("the lease is lost: {0}")]
    Refused(String),
    #[error("the worker drops the job")]
    Dropped,
}

/// Runs list jobs.
#[derive(Debug)]
pub struct Lister {
    store: Store,
    leader: LeaderClient,
    /// Folders of our own, which are in no corpus.
    never_list: Vec<PathBuf>,
    buckets: Arc<Buckets>,
    /// By corpus; taken out while it is used. The cluster lists a corpus in one place at a time.
    memories: Mutex<BTreeMap<CorpusId, Memory>>,
}

/// What a listing did.
#[derive(Debug, Default)]
struct Summary {
    segments: usize,
    files: u64,
    gone: usize,
    skipped: Skipped,
}

impl Lister {
    pub fn new(store: Store, leader: LeaderClient, mut never_list: Vec<PathBuf>, buckets: Arc<Buckets>) -> Self {
        let storage = store.url().strip_prefix("file://").map(PathBuf::from);
        never_list.extend(storage);
        Self { store, leader, never_list, buckets, memories: Mutex::default() }
    }

    /// Lists the corpus, and settles the job unless the lease is lost or `cancel` says to drop it.
    pub async fn run(
        &self,
        lease: LeaseId,
        corpus: &Corpus,
        session: &leader::Handle,
        cancel: &CancellationToken,
    ) -> JobEnd {
        let result = match self.list(lease, corpus, session, cancel).await {
            Ok(Summary { segments, files, gone, skipped }) => {
                if segments + gone > 0 {
                    info!(%lease, corpus = %corpus.key, segments, files, gone, skipped = skipped.total(), "listing found changes");
                }
                v1::settle_listing::Result::Done(skipped.into())
            }
            Err(error @ (Error::Refused(_) | Error::Dropped)) => {
                debug!(%lease, corpus = %corpus.key, %error, "listing dropped");
                return JobEnd::Dropped;
            }
            Err(error) => {
                let reason = chain(&error);
                tracing::warn!(%lease, corpus = %corpus.key, reason, "listing failed");
                v1::settle_listing::Result::Failed(reason)
            }
        };
        let answered = session.settle_listing(lease, result).await;
        if let Answered::Refused(refusal) = &answered {
            debug!(%lease, refusal, "the listing's settlement was refused");
        }
        JobEnd::from(answered)
    }

    async fn list(
        &self,
        lease: LeaseId,
        corpus: &Corpus,
        session: &leader::Handle,
        cancel: &CancellationToken,
    ) -> Result<Summary, Error> {
        let mut memory = self.memories().remove(&corpus.id).unwrap_or_default();
        memory.catch_up(corpus.id, &self.leader, &self.store, LIST_SEGMENTS_WITHIN).await?;
        let (segments, found) = mpsc::channel(SEGMENTS_AHEAD);
        let (url, never_list, patterns) = (corpus.url.clone(), self.never_list.clone(), corpus.patterns.clone());
        let (buckets, storage) = (Arc::clone(&self.buckets), self.store.url().to_owned());
        let stop = cancel.child_token();
        // However this function ends, the walk ends too.
        let _stop = stop.clone().drop_guard();
        let walk = tokio::task::spawn_blocking(move || {
            let origin = buckets.open(&url).map(|origin| origin.never_list(never_list, &storage));
            walk::walk(origin, &patterns, memory, &segments, &stop)
        });
        let mut summary = Summary::default();
        let told = self.tell(lease, session, found, &mut summary).await;
        let (walked, memory) = walk.await?;
        self.memories().insert(corpus.id, memory);
        told?;
        let Some(Walked { gone, skipped }) = walked? else { return Err(Error::Dropped) };
        summary.skipped = skipped;
        summary.gone = gone.iter().map(|(_, files)| files.len()).sum();
        for gone in chunks(gone) {
            accepted(session.append(lease, Vec::new(), gone).await)?;
        }
        Ok(summary)
    }

    /// Stores manifests and tells their segments, as they come.
    async fn tell(
        &self,
        lease: LeaseId,
        session: &leader::Handle,
        mut found: mpsc::Receiver<Manifest>,
        summary: &mut Summary,
    ) -> Result<(), Error> {
        let mut waiting = Vec::new();
        while let Some(manifest) = found.recv().await {
            let (descriptor, bytes) = tokio::task::spawn_blocking(move || encode(&manifest)).await?;
            self.store.put(&keys::manifest(&descriptor.manifest), bytes).await?;
            summary.segments += 1;
            summary.files += u64::from(descriptor.files);
            // The log assigns ordinals.
            waiting.push(v1::Segment::new(SegmentOrdinal(0), &descriptor));
            if found.is_empty() || waiting.len() >= SEGMENTS_PER_APPEND {
                accepted(session.append(lease, std::mem::take(&mut waiting), Vec::new()).await)?;
            }
        }
        if !waiting.is_empty() {
            accepted(session.append(lease, waiting, Vec::new()).await)?;
        }
        Ok(())
    }

    fn memories(&self) -> std::sync::MutexGuard<'_, BTreeMap<CorpusId, Memory>> {
        self.memories.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn encode(manifest: &Manifest) -> (SegmentDescriptor, Bytes) {
    (manifest.descriptor(), manifest.encode().1)
}

fn accepted(answered: Answered) -> Result<(), Error> {
    match answered {
        Answered::Accepted => Ok(()),
        Answered::Refused(refusal) => Err(Error::Refused(refusal)),
        Answered::SessionEnded => Err(Error::Dropped),
    }
}

/// Gone files in messages of bounded size.
fn chunks(gone: Vec<(SegmentOrdinal, Vec<FileOrdinal>)>) -> Vec<Vec<v1::SegmentFiles>> {
    let mut chunks: Vec<Vec<v1::SegmentFiles>> = Vec::new();
    let mut files_in_last = GONE_FILES_PER_APPEND;
    for (ordinal, files) in gone {
        if files_in_last + files.len() > GONE_FILES_PER_APPEND {
            chunks.push(Vec::new());
            files_in_last = 0;
        }
        files_in_last += files.len();
        let files = files.into_iter().map(|file| file.0).collect();
        if let Some(chunk) = chunks.last_mut() {
            chunk.push(v1::SegmentFiles { ordinal: ordinal.0, files });
        }
    }
    chunks
}
