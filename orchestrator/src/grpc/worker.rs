//! The workers' service: one stream each way, tied to a session by the driver.

use std::{pin::Pin, sync::Arc};

use futures::Stream;
use protocol::v1::{self, worker_message, worker_server};
use tokio::sync::mpsc;
use tokio_stream::{StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::node::Node;

/// Messages to one worker not yet written to its socket: its credits' grants, its answers, and some air.
const TO_WORKER: usize = 2048;
const MAX_NAME_BYTES: usize = 253;

pub(crate) struct Service(pub(crate) Arc<Node>);

#[tonic::async_trait]
impl worker_server::Worker for Service {
    type WorkStream = Pin<Box<dyn Stream<Item = Result<v1::LeaderMessage, Status>> + Send>>;

    async fn work(&self, request: Request<Streaming<v1::WorkerMessage>>) -> Result<Response<Self::WorkStream>, Status> {
        let node = Arc::clone(&self.0);
        let mut messages = request.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(worker_message::Message::Hello(hello)) = first else {
            return Err(Status::invalid_argument("the first message is Hello"));
        };
        if hello.worker.is_empty() || hello.worker.len() > MAX_NAME_BYTES {
            return Err(Status::invalid_argument(format!("a worker's name has 1 to {MAX_NAME_BYTES} bytes")));
        }
        let (to_worker, from_driver) = mpsc::channel(TO_WORKER);
        let attached = node.drive.attach(hello, to_worker).await.map_err(|error| node.drive_status(&error))?;
        let stop = node.stop.clone();
        let tasks = node.tasks.clone();
        tasks.spawn(async move {
            loop {
                let message = tokio::select! {
                    () = stop.cancelled() => return,
                    message = messages.message() => message,
                };
                let Ok(Some(v1::WorkerMessage { message })) = message else {
                    return; // closed or broken: the session waits for its worker to come back
                };
                if let Some(message) = message
                    && node.drive.worker(attached, message).await.is_err()
                {
                    return;
                }
            }
        });
        let stop = self.0.stop.clone();
        let stream = ReceiverStream::new(from_driver).map(Ok);
        Ok(Response::new(Box::pin(futures::StreamExt::take_until(stream, stop.cancelled_owned()))))
    }
}
