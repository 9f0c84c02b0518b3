//! What probes and scrapers are told.

use std::{collections::BTreeMap, net::TcpListener as Std};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    fake_leader::until,
    world::{World, kill, target},
};

const SLOW: &str = r#"rule slow { condition: for all i in (1..60000000) : (i != 0) }"#;

async fn get(address: &str, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

fn free_address() -> String {
    Std::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

fn samples(text: &str) -> BTreeMap<String, f64> {
    assert!(text.ends_with("# EOF\n"), "it was cut off");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

/// Names in the table of `metrics.rs`.
fn documented() -> Vec<String> {
    let rows = include_str!("../../src/metrics.rs").lines().filter_map(|line| line.strip_prefix("//! | `"));
    let names =
        rows.flat_map(|row| row.split(" | ").next().unwrap_or_default().split('`').step_by(2).collect::<Vec<_>>());
    names.map(str::trim).filter(|name| !name.is_empty()).map(|name| format!("dragnet_worker_{name}")).collect()
}

#[tokio::test]
async fn a_worker_counts_what_it_does() {
    let address = free_address();
    let world = World::new(&["--metrics-listen", &address]).await;
    for number in 0..8 {
        world.write(&format!("f{number}"), "find me");
    }
    world.write("clean", "nothing");
    world.list().await;
    let segment = world.segment(0).await;
    std::fs::remove_file(world.path("f7")).unwrap();
    let one = world.rules(1, r#"rule marked { strings: $a = "find me" condition: $a }"#).await;
    let two = world.rules(1, "rule none { condition: false }").await;
    world.scan(&segment, vec![target(1, &one), target(2, &two)]).await;
    let slow = r#"rule slow { condition: filename == "f0" and for all i in (1..60000000) : (i != 0) }"#;
    let slow = world.rules(2, slow).await;
    let lease = world.grant_scan(&segment, vec![target(3, &slow)]);
    kill("-KILL", world.busy_scanner(None).await);
    world.leader.settled(lease).await;

    let samples = eventually("the jobs' ends are counted", async || {
        let samples = samples(&get(&address, "/metrics").await?.1);
        (samples.get("dragnet_worker_jobs_ended_total{kind=\"scan\",result=\"settled\"}") == Some(&2.0))
            .then_some(samples)
    })
    .await;

    let value = |name: &str| samples.get(&format!("dragnet_worker_{name}")).copied();
    // Of the first job: seven with a finding, one without, one gone; of the second: one, seven, one.
    assert_eq!(value("files_total{outcome=\"matched\"}"), Some(8.0));
    assert_eq!(value("files_total{outcome=\"clean\"}"), Some(8.0));
    assert_eq!(value("files_total{outcome=\"gone\"}"), Some(2.0));
    assert_eq!(value("findings_total"), Some(8.0));
    assert!(value("scanned_bytes_total").unwrap() >= 16.0 * 7.0);
    assert!(value("engine_seconds_total").unwrap() > 0.0);
    assert_eq!(value("scanner_restarts_total{reason=\"crashed\"}"), Some(1.0));
    assert_eq!(value("scanner_restarts_total{reason=\"hung\"}"), Some(0.0));
    assert_eq!(value("jobs_ended_total{kind=\"list\",result=\"settled\"}"), Some(1.0));
    assert_eq!(
        (value("jobs"), value("scanners"), value("connected"), value("draining")),
        (Some(0.0), Some(2.0), Some(1.0), Some(0.0))
    );
    for name in documented() {
        assert!(
            samples.keys().any(|sample| sample.split('{').next() == Some(&name)),
            "{name} is documented and not told"
        );
    }
    let told = samples.keys().filter(|name| name.starts_with("dragnet_worker_"));
    for name in told.map(|name| name.split('{').next().unwrap().to_owned()) {
        assert!(documented().contains(&name), "{name} is told and not documented");
    }
}

#[tokio::test]
async fn a_worker_is_ready_while_it_has_a_leader_and_does_not_drain() {
    let address = free_address();
    let mut world = World::new(&["--metrics-listen", &address]).await;
    eventually("it is ready", async || get(&address, "/readyz").await.filter(|(status, _)| *status == 200)).await;
    world.leader.state().leads_elsewhere = Some("127.0.0.1:1".parse().unwrap());
    world.leader.cut();
    let (_, why) =
        eventually("it is not ready", async || get(&address, "/readyz").await.filter(|(status, _)| *status == 503))
            .await;
    assert_eq!(why, "no leader is connected\n");
    assert_eq!(get(&address, "/healthz").await.unwrap().0, 200);
    world.leader.state().leads_elsewhere = None;
    eventually("it is ready again", async || get(&address, "/readyz").await.filter(|(status, _)| *status == 200)).await;

    world.write("a", "x");
    let segment = world.segment(0).await;
    let rules = world.rules(1, SLOW).await;
    let lease = world.grant_scan(&segment, vec![target(1, &rules)]);
    world.busy_scanner(None).await;
    kill("-TERM", world.worker.0.id());
    let (_, why) =
        eventually("it drains", async || get(&address, "/readyz").await.filter(|(status, _)| *status == 503)).await;
    assert_eq!(why, "draining\n");
    world.leader.settled(lease).await;
    let worker = &mut world.worker.0;
    assert_eq!(until("the worker's end", || worker.try_wait().unwrap()).await.code(), Some(0));
}
