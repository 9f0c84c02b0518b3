use enrichment::{Answer, Datasets, Reason, Source};

use crate::server::{Server, datasets, found, missing, name, options, patient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_has_its_own_answer_in_the_order_asked() {
    let server = Server::start(&[]).await;
    server.set("a", "one").await;
    server.set("b", "").await;
    let datasets = datasets(&server.address(), options());
    let answers = datasets.lookup(&name(), &["b", "nobody", "a", "a"]).await;
    assert_eq!(answers, [found(""), missing(), found("one"), found("one")]);
    assert_eq!(datasets.lookup::<&str>(&name(), &[]).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_keys_go_in_batches_of_bounded_size() {
    let server = Server::start(&[]).await;
    let mut load = vec!["MSET".to_owned()];
    (0..1000).for_each(|number| load.extend([format!("k{number}"), format!("v{number}")]));
    let load: Vec<_> = load.iter().map(String::as_str).collect();
    let () = server.ask(&load).await;
    let datasets = datasets(&server.address(), enrichment::Options { batch: 64, ..options() });
    let keys: Vec<_> = (0..1001).map(|number| format!("k{number}")).collect();
    let answers = datasets.lookup(&name(), &keys).await;
    assert_eq!((answers.len(), &answers[999], &answers[1000]), (1001, &found("v999"), &missing()));
    let told: String = server.ask(&["INFO", "commandstats"]).await;
    assert!(told.contains("cmdstat_mget:calls=16,"), "1001 keys by 64: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prefix_and_database_are_those_of_the_source() {
    let server = Server::start(&[]).await;
    let client = redis::Client::open(format!("redis://{}/3", server.address())).unwrap();
    let mut third = client.get_multiplexed_async_connection_with_config(&patient()).await.unwrap();
    let () = redis::cmd("SET").arg("pkg:a").arg("here").query_async(&mut third).await.unwrap();
    server.set("a", "not here").await;
    let datasets = datasets(&format!("{}/3?prefix=pkg:", server.address()), options());
    assert_eq!(datasets.lookup(&name(), &["a"]).await, [found("here")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_comes_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let server = Server::start(&[]).await;
    server.set("a", "one").await;
    let () = server.ask(&["CONFIG", "SET", "requirepass", "secret"]).await;
    let place = format!("{}?password_file={}", server.address(), file.display());
    assert_eq!(datasets(&place, options()).lookup(&name(), &["a"]).await, [found("one")]);
    let without = datasets(&server.address(), options()).lookup(&name(), &["a"]).await;
    assert!(
        matches!(&without[..], [Answer::Unavailable(Reason::Refused { what, .. })] if what.contains("NOAUTH")),
        "{without:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_value_too_large_for_a_finding_is_no_answer() {
    let server = Server::start(&[]).await;
    server.set("large", &"x".repeat(11)).await;
    server.set("small", &"x".repeat(10)).await;
    let datasets = datasets(&server.address(), enrichment::Options { max_value: 10, ..options() });
    let answers = datasets.lookup(&name(), &["large", "small"]).await;
    assert_eq!(answers, [Answer::Unavailable(Reason::TooLarge { bytes: 11 }), found(&"x".repeat(10))]);
}

#[tokio::test]
async fn a_dataset_that_nobody_serves_is_unavailable_and_not_missing() {
    let datasets = Datasets::default();
    assert_eq!(datasets.lookup(&name(), &["a"]).await, [Answer::Unavailable(Reason::NotConfigured)]);
}

#[test]
fn a_dataset_named_twice_and_a_password_that_cannot_be_read_are_refused() {
    let source: Source = "packages=redis://a:1".parse().unwrap();
    assert!(Datasets::new(vec![source.clone(), source], options()).unwrap_err().to_string().contains("twice"));
    let source: Source = "packages=redis://a:1?password_file=/nowhere".parse().unwrap();
    assert!(Datasets::new(vec![source], options()).unwrap_err().to_string().contains("/nowhere"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_counted_adds_up() {
    let server = Server::start(&[]).await;
    server.set("a", "one").await;
    let datasets = datasets(&server.address(), options());
    datasets.lookup(&name(), &["a", "b", "c"]).await;
    drop(server);
    let lost = datasets.lookup(&name(), &["a", "b"]).await;
    assert!(lost.iter().all(|answer| matches!(answer, Answer::Unavailable(_))), "{lost:?}");
    let counts = datasets.metrics().counts(&name());
    assert_eq!((counts.lookups, counts.hits, counts.misses, counts.unavailable), (5, 1, 2, 2));
    let mut registry = prometheus_client::registry::Registry::with_prefix("dragnet");
    datasets.metrics().register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        "dragnet_enrichment_lookups_total{dataset=\"packages\"} 5",
        "dragnet_enrichment_unavailable_total{dataset=\"packages\",reason=\"disconnected\"} 2",
        "dragnet_enrichment_lookup_seconds_count{dataset=\"packages\"} 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}
