//! As much of S3 as a corpus needs: listing in pages, reading on condition, and refusals, all counted.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::task::TaskTracker;

/// Keys in one page, so that a test of a dozen objects sees several.
const PAGE: usize = 5;

#[derive(Debug, Default)]
pub(crate) struct Bucket {
    pub(crate) objects: BTreeMap<String, Vec<u8>>,
    /// Answered with 403.
    pub(crate) forbidden: Vec<String>,
    /// Everything is answered with 400, which no client repeats by itself.
    pub(crate) broken: bool,
    pub(crate) reads: u64,
    pub(crate) lists: u64,
}

type Shared = Arc<Mutex<Bucket>>;

pub(crate) struct S3 {
    pub(crate) address: String,
    bucket: Shared,
    server: JoinHandle<()>,
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl S3 {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let bucket = Shared::default();
        let routes = Router::new()
            .route("/files", get(list))
            .route("/files/", get(list))
            .route("/files/{*key}", get(read))
            .with_state(Arc::clone(&bucket));
        let server = TaskTracker::new().spawn(async move {
            axum::serve(listener, routes).await.unwrap();
        });
        Self { address, bucket, server }
    }

    pub(crate) fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap()
    }

    pub(crate) fn put(&self, key: &str, content: impl AsRef<[u8]>) {
        self.bucket().objects.insert(key.to_owned(), content.as_ref().to_vec());
    }

    /// What a process needs in its environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "key".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ]
    }
}

fn etag(content: &[u8]) -> String {
    format!("\"{}\"", types::Digest::of(content).short())
}

async fn list(State(bucket): State<Shared>, Query(query): Query<BTreeMap<String, String>>) -> Response {
    let mut bucket = bucket.lock().unwrap();
    bucket.lists += 1;
    if bucket.broken {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let prefix = query.get("prefix").map_or("", String::as_str);
    let after = query.get("continuation-token").map_or("", String::as_str);
    let mut fitting = bucket.objects.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_str() > after);
    let page: Vec<_> = fitting.by_ref().take(PAGE).collect();
    let contents: String = page
        .iter()
        .map(|(key, content)| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-22T20:00:00.000Z</LastModified><ETag>{}</ETag>\
                 <Size>{}</Size></Contents>",
                etag(content).replace('"', "&quot;"),
                content.len()
            )
        })
        .collect();
    let more = fitting.next().is_some();
    let token = match page.last() {
        Some((key, _)) if more => format!("<NextContinuationToken>{key}</NextContinuationToken>"),
        _ => String::new(),
    };
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><IsTruncated>{more}</IsTruncated>{token}{contents}\
         </ListBucketResult>"
    );
    ([(header::CONTENT_TYPE, "application/xml")], text).into_response()
}

async fn read(State(bucket): State<Shared>, Path(key): Path<String>, headers: HeaderMap) -> Response {
    let mut bucket = bucket.lock().unwrap();
    bucket.reads += 1;
    if bucket.broken {
        return StatusCode::BAD_REQUEST.into_response();
    }
    if bucket.forbidden.contains(&key) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let Some(content) = bucket.objects.get(&key) else { return StatusCode::NOT_FOUND.into_response() };
    let tag = etag(content);
    if headers.get(header::IF_MATCH).is_some_and(|wanted| wanted.to_str().unwrap() != tag) {
        return StatusCode::PRECONDITION_FAILED.into_response();
    }
    let modified = "Sun, 22 Nov 2026 20:00:00 GMT".to_owned();
    ([(header::ETAG, tag), (header::LAST_MODIFIED, modified)], content.clone()).into_response()
}
