//! What each route does.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use dataset::VersionId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    Admin,
    access::{self, Access},
    answer::Refusal,
};
use crate::manage::{Desk, Instruction, Status};

/// The topology of the 1,000 nodes that Redis Cluster is made for takes some 200 KiB.
const LARGEST_BODY: usize = 1 << 20;

/// How long an answer may take, body included. An order is answered earlier, see `ORDER_WITHIN`.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// Opening and warming a version may read all of it.
const OPEN_WITHIN: Duration = Duration::from_secs(30 * 60);

/// How long a caller waits for the version that was ordered; after that it is answered `202 Accepted`.
const ORDER_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn router(admin: Admin, access: Access) -> Router {
    let slow = Router::new().route("/datasets/{name}/manage", post(manage)).layer(middleware::from_fn(within_open));
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/datasets", get(datasets))
        .route("/datasets/{name}", get(dataset))
        .route("/datasets/{name}/switch", post(switch))
        .route("/datasets/{name}/rollback", post(rollback))
        .route("/topology", put(topology))
        .layer(middleware::from_fn(within_answer))
        .merge(slow)
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .layer(middleware::from_fn_with_state(access, access::check))
        .with_state(Arc::new(admin))
}

type Shared = State<Arc<Admin>>;

async fn metrics(State(admin): Shared) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (admin.metrics)())
}

async fn readyz(State(admin): Shared) -> Result<&'static str, Refusal> {
    let unready = |why: String| Refusal::new(StatusCode::SERVICE_UNAVAILABLE, why);
    (admin.ready)().map_err(unready)?;
    let waiting = admin.desks.statuses().into_iter().find(|status| !status.is_served());
    match waiting {
        Some(status) => {
            Err(unready(format!("dataset {} serves no version: {}", status.name, status.report.state.as_str())))
        }
        None => Ok("ready\n"),
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Datasets {
    pub(crate) datasets: Vec<Status>,
}

async fn datasets(State(admin): Shared) -> Json<Datasets> {
    Json(Datasets { datasets: admin.desks.statuses() })
}

async fn dataset(State(admin): Shared, Path(name): Path<String>) -> Result<Json<Status>, Refusal> {
    Ok(Json(admin.desks.status(&name)?))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Order {
    version: Option<VersionId>,
}

async fn switch(State(admin): Shared, Path(name): Path<String>, body: Bytes) -> Result<Response, Refusal> {
    let order: Order = match body.is_empty() {
        true => Order::default(),
        false => parse(&body)?,
    };
    let desk = admin.desks.desk(&name)?;
    let version = desk.tell(order.version)?;
    Ok(answer_order(&desk, version).await)
}

async fn rollback(State(admin): Shared, Path(name): Path<String>) -> Result<Response, Refusal> {
    let desk = admin.desks.desk(&name)?;
    let version = desk.roll_back()?;
    Ok(answer_order(&desk, version).await)
}

/// `200` when the version is served, `202` when it will be; both with the state.
async fn answer_order(desk: &Desk, version: VersionId) -> Response {
    let served = timeout(ORDER_WITHIN, desk.until_served(version)).await.is_ok();
    let status = if served { StatusCode::OK } else { StatusCode::ACCEPTED };
    (status, Json(desk.status())).into_response()
}

async fn manage(State(admin): Shared, Path(name): Path<String>, body: Bytes) -> Result<Json<Status>, Refusal> {
    let desk = admin.desks.desk(&name)?;
    match parse(&body)? {
        Instruction::Open { version, warm } => desk.open(version, warm).await?,
        Instruction::Switch { version } => desk.switch(version)?,
        Instruction::Close { version } => desk.close(version),
        Instruction::Report { report } => desk.report(*report),
    }
    Ok(Json(desk.status()))
}

async fn topology(State(admin): Shared, body: Bytes) -> Result<Json<Value>, Refusal> {
    match (admin.topology)(&body) {
        Ok(epoch) => Ok(Json(json!({ "epoch": epoch }))),
        Err(why) => Err(Refusal::new(StatusCode::CONFLICT, why)),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, format!("the body makes no sense: {error}")))
}

async fn within_answer(request: Request, next: Next) -> Result<Response, Refusal> {
    within(ANSWER_WITHIN, request, next).await
}

async fn within_open(request: Request, next: Next) -> Result<Response, Refusal> {
    within(OPEN_WITHIN, request, next).await
}

async fn within(limit: Duration, request: Request, next: Next) -> Result<Response, Refusal> {
    let late = || Refusal::new(StatusCode::SERVICE_UNAVAILABLE, format!("no answer within {} s", limit.as_secs()));
    timeout(limit, next.run(request)).await.map_err(|_| late())
}
