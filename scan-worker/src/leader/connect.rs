use std::time::Duration;

use protocol::{
    client,
    v1::{LeaderMessage, Welcome, WorkerMessage, leader_message, worker_client::WorkerClient, worker_message::Message},
};
use tokio::{
    sync::mpsc,
    time::{error::Elapsed, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

/// A leader under load answers a hello after a commit; one that does not within this time is not the one.
const WELCOME_WITHIN: Duration = Duration::from_secs(5);
/// Messages on their way to the socket: a settlement per job and a heartbeat, with room to spare.
const OUTBOX: usize = 64;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Address(#[from] client::Error),
    #[error("the call failed: {}", .0.message())]
    Call(Box<Status>),
    #[error("no welcome within {WELCOME_WITHIN:?}")]
    Silent(#[from] Elapsed),
    #[error("the node broke the protocol: {what}")]
    Protocol { what: &'static str },
}

impl Error {
    /// Where the leader is, if the node that was asked said so.
    pub(super) fn leader_hint(&self) -> Option<String> {
        match self {
            Self::Call(status) => client::leader_hint(status),
            Self::Address(_) | Self::Silent(_) | Self::Protocol { .. } => None,
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

/// An open stream whose hello was answered.
pub(super) struct Stream {
    pub(super) welcome: Welcome,
    pub(super) outbox: mpsc::Sender<WorkerMessage>,
    pub(super) inbox: Streaming<LeaderMessage>,
}

pub(super) async fn connect(address: &str, hello: Message) -> Result<Stream, Error> {
    timeout(WELCOME_WITHIN, open(address, hello)).await?
}

async fn open(address: &str, hello: Message) -> Result<Stream, Error> {
    let mut client = WorkerClient::new(client::channel(address)?)
        .max_decoding_message_size(protocol::MAX_MESSAGE_BYTES)
        .max_encoding_message_size(protocol::MAX_MESSAGE_BYTES);
    let (outbox, messages) = mpsc::channel(OUTBOX);
    outbox.try_send(WorkerMessage { message: Some(hello) }).expect("an empty outbox has room");
    let mut inbox = client.work(ReceiverStream::new(messages)).await?.into_inner();
    let first = inbox.message().await?.ok_or(Error::Protocol { what: "the stream ended before the welcome" })?;
    let Some(leader_message::Message::Welcome(welcome)) = first.message else {
        return Err(Error::Protocol { what: "the first message is no welcome" });
    };
    if welcome.session.is_none() {
        return Err(Error::Protocol { what: "a welcome without a session" });
    }
    Ok(Stream { welcome, outbox, inbox })
}
