use std::{sync::atomic::Ordering, time::Duration};

use enrichment::{Answer, Limits, Options, Reason};
use rustix::process::Signal;

use crate::{
    line::Line,
    server::{Server, datasets, found, name, options, until},
};

fn impatient() -> Options {
    Options { deadline: Duration::from_secs(1), ..options() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_a_deadline_then_nothing_and_is_used_again_when_it_wakes() {
    let server = Server::start(&[]).await;
    server.set("a", "one").await;
    let cool_down = Duration::from_secs(3600);
    let mut options = Options { breaker: Limits { failures: 3, cool_down }, ..impatient() };
    let patient = datasets(&server.address(), options);
    options.breaker.cool_down = Duration::from_millis(50);
    let eager = datasets(&server.address(), options);
    until(&patient, &["a"], |answers| answers == [found("one")]).await;
    server.signal(Signal::STOP);
    for _ in 0..3 {
        let answers = patient.lookup(&name(), &["a"]).await;
        assert!(matches!(answers[..], [Answer::Unavailable(Reason::TimedOut { .. })]), "{answers:?}");
    }
    let refused = patient.lookup(&name(), &["a", "b"]).await;
    assert!(matches!(refused[..], [Answer::Unavailable(Reason::LeftAlone { .. }), _]), "{refused:?}");
    until(&eager, &["a"], |answers| matches!(answers, [Answer::Unavailable(Reason::LeftAlone { .. })])).await;
    server.signal(Signal::CONT);
    until(&eager, &["a"], |answers| answers == [found("one")]).await;
    // The other one still keeps its distance, as it was told.
    assert!(matches!(patient.lookup(&name(), &["a"]).await[..], [Answer::Unavailable(Reason::LeftAlone { .. })]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_in_the_middle_of_an_answer_gives_none() {
    let server = Server::start(&[]).await;
    server.set("a", &"x".repeat(10_000)).await;
    let line = Line::to(server.address()).await;
    let datasets = datasets(&line.address.to_string(), options());
    assert_eq!(datasets.lookup(&name(), &["a"]).await, [found(&"x".repeat(10_000))]);
    // Both the open connection and the one that is made in its place end within the value.
    line.cut_after(5_000);
    let answers = datasets.lookup(&name(), &["a", "b"]).await;
    assert!(
        matches!(answers[..], [Answer::Unavailable(Reason::Disconnected { .. }), Answer::Unavailable(_)]),
        "{answers:?}"
    );
    line.mend();
    until(&datasets, &["a"], |answers| matches!(answers, [Answer::Found { .. }])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_closed_while_idle_is_replaced_without_a_failed_lookup() {
    let server = Server::start(&[]).await;
    server.set("a", "one").await;
    let line = Line::to(server.address()).await;
    let datasets = datasets(&line.address.to_string(), options());
    assert_eq!(datasets.lookup(&name(), &["a"]).await, [found("one")]);
    for _ in 0..5 {
        let _: i64 = server.ask(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;
        assert_eq!(datasets.lookup(&name(), &["a"]).await, [found("one")]);
    }
    assert!(line.connections.load(Ordering::Relaxed) >= 2);
    assert_eq!(datasets.metrics().counts(&name()).unavailable, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_are_reasons_and_open_the_breaker_like_silence() {
    let server = Server::start(&[]).await;
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let () = server.ask(&["ACL", "SETUSER", "default", "-mget"]).await;
    let datasets = datasets(
        &server.address(),
        Options { breaker: Limits { failures: 2, cool_down: Duration::from_secs(3600) }, ..options() },
    );
    for _ in 0..2 {
        let answers = datasets.lookup(&name(), &["a"]).await;
        assert!(
            matches!(&answers[..], [Answer::Unavailable(Reason::Refused { what, .. })] if what.contains("NOPERM")),
            "{answers:?}"
        );
    }
    assert!(matches!(datasets.lookup(&name(), &["a"]).await[..], [Answer::Unavailable(Reason::LeftAlone { .. })]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_key_of_a_wrong_type_does_not_cost_the_others_their_answer() {
    let server = Server::start(&[]).await;
    server.set("a", "one").await;
    let _: i64 = server.ask(&["LPUSH", "list", "x"]).await;
    let answers = datasets(&server.address(), options()).lookup(&name(), &["a", "list"]).await;
    assert_eq!(answers[0], found("one"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_listens_and_then_somebody_does() {
    let port = crate::server::free_port();
    let datasets = datasets(&format!("127.0.0.1:{port}"), options());
    let answers = datasets.lookup(&name(), &["a"]).await;
    assert!(matches!(answers[..], [Answer::Unavailable(Reason::Disconnected { .. })]), "{answers:?}");
    let server = Server::start_at(port, &[]).await;
    server.set("a", "one").await;
    until(&datasets, &["a"], |answers| answers == [found("one")]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lookups_at_the_same_time_share_one_connection() {
    let server = Server::start(&[]).await;
    server.set("a", "one").await;
    let line = Line::to(server.address()).await;
    let datasets = datasets(&line.address.to_string(), options());
    let name = name();
    let lookups = (0..50).map(|_| datasets.lookup(&name, &["a"]));
    for answers in futures::future::join_all(lookups).await {
        assert_eq!(answers, [found("one")]);
    }
    assert_eq!(line.connections.load(Ordering::Relaxed), 1);
}
