use std::time::Duration;

use corpus::{Known, Manifest};
use protocol::{
    client::{self, LeaderClient},
    v1::{self, scan_client::ScanClient},
};
use store::{Store, keys};
use types::{CorpusId, FileOrdinal, SegmentOrdinal};

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the stored segments cannot be listed")]
    Leader(#[from] client::Error),
    #[error("the manifest of segment {ordinal} cannot be had")]
    Manifest { ordinal: u32, source: store::Error },
    #[error("the manifest of segment {ordinal} cannot be read")]
    Decode { ordinal: u32, source: corpus::Error },
    #[error("segment {ordinal} has no valid digest")]
    Digest { ordinal: u32, source: protocol::ConvertError },
    #[error("a helper task ended")]
    Task(#[from] tokio::task::JoinError),
}

/// What is stored of a corpus, kept between listings.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) known: Known,
    /// Segments before this one are in it.
    next: u32,
}

impl Memory {
    /// Learns of segments stored since the last time, and of files gone.
    pub(super) async fn catch_up(
        &mut self,
        corpus: CorpusId,
        leader: &LeaderClient,
        store: &Store,
        deadline: Duration,
    ) -> Result<(), Error> {
        let from = self.next;
        let pages = leader.call(deadline, |channel| list_segments(channel, corpus, from)).await?;
        for page in &pages {
            for segment in page.segments.iter().filter(|segment| segment.ordinal >= from) {
                let ordinal = segment.ordinal;
                let digest = segment.manifest().map_err(|source| Error::Digest { ordinal, source })?;
                let bytes =
                    store.get(&keys::manifest(&digest)).await.map_err(|source| Error::Manifest { ordinal, source })?;
                let manifest = tokio::task::spawn_blocking(move || Manifest::decode(&digest, &bytes))
                    .await?
                    .map_err(|source| Error::Decode { ordinal, source })?;
                self.known.add(SegmentOrdinal(ordinal), &manifest);
                self.next = ordinal + 1;
            }
        }
        for v1::SegmentFiles { ordinal, files } in pages.iter().flat_map(|page| &page.gone) {
            let files: Vec<_> = files.iter().copied().map(FileOrdinal).collect();
            self.known.remove_gone(SegmentOrdinal(*ordinal), &files);
        }
        Ok(())
    }
}

async fn list_segments(
    channel: tonic::transport::Channel,
    corpus: CorpusId,
    from: u32,
) -> Result<Vec<v1::ListSegmentsResponse>, tonic::Status> {
    let mut client = ScanClient::new(channel).max_decoding_message_size(protocol::MAX_MESSAGE_BYTES);
    let request = v1::ListSegmentsRequest { corpus_id: corpus.0, from_ordinal: from };
    let mut stream = client.list_segments(request).await?.into_inner();
    let mut pages = Vec::new();
    while let Some(page) = stream.message().await? {
        pages.push(page);
    }
    Ok(pages)
}
