//! A server on this machine, over its administrative HTTP.

use std::{sync::Arc, time::Duration};

use reqwest::{Client, Method, Response};
use url::Url;

use super::{chain, desk::Instruction, error::Error, status::Status};
use crate::admin::Token;

/// For everything but opening: answered from memory.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Opening and warming may read a whole version. A little more than the server gives itself.
const OPEN_WITHIN: Duration = Duration::from_secs(31 * 60);

/// One dataset of a server.
#[derive(Clone)]
pub(crate) struct Remote(Arc<Inner>);

struct Inner {
    client: Client,
    server: Url,
    dataset: String,
    token: Option<Token>,
}

/// Makes the client that all datasets share.
pub(crate) fn client() -> Result<Client, Error> {
    // A proxy for the world outside is none for this machine.
    let client = Client::builder().no_proxy().connect_timeout(ANSWER_WITHIN).build();
    client.map_err(|error| Error::Server { what: chain(&error) })
}

impl Remote {
    pub(crate) fn new(client: Client, server: Url, dataset: &str, token: Option<Token>) -> Self {
        Self(Arc::new(Inner { client, server, dataset: dataset.to_owned(), token }))
    }

    pub(crate) async fn status(&self) -> Result<Status, Error> {
        let response = self.ask(Method::GET, "", Vec::new(), ANSWER_WITHIN).await?;
        let body = response.bytes().await.map_err(|error| Error::Server { what: chain(&error) })?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::Server { what: format!("its state makes no sense: {error}") })
    }

    pub(crate) async fn instruct(&self, instruction: &Instruction) -> Result<(), Error> {
        let body = serde_json::to_vec(instruction).expect("these types have only string keys");
        let within = if matches!(instruction, Instruction::Open { .. }) { OPEN_WITHIN } else { ANSWER_WITHIN };
        self.ask(Method::POST, "/manage", body, within).await.map(drop)
    }

    async fn ask(&self, method: Method, what: &str, body: Vec<u8>, within: Duration) -> Result<Response, Error> {
        let Inner { client, server, dataset, token } = &*self.0;
        let refused = |what: String| Error::Server { what };
        let url = server.join(&format!("/datasets/{dataset}{what}")).map_err(|error| refused(error.to_string()))?;
        let mut request = client.request(method, url).timeout(within).body(body);
        if let Some(token) = token {
            request = request.bearer_auth(token.as_str());
        }
        let response = request.send().await.map_err(|error| refused(chain(&error)))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let body = response.text().await.unwrap_or_default();
        let error = serde_json::from_str::<serde_json::Value>(&body).ok();
        let error = error.and_then(|body| body.get("error")?.as_str().map(str::to_owned)).unwrap_or(body);
        Err(refused(format!("{status}: {error}")))
    }
}
