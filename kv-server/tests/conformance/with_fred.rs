//! The crate `fred`.

use fred::prelude::*;
use fred::types::RespVersion;
use fred::types::scan::Scanner;
use futures::TryStreamExt;

use crate::scenario::{Pair, Scenario};
use crate::servers::in_all_scenarios;

#[test]
fn fred_alone_and_in_a_cluster() {
    in_all_scenarios(|scenario| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(scenario)).unwrap_or_else(|error| panic!("fred: {scenario}: {error:?}"));
    });
}

async fn run(scenario: &Scenario) -> Result<(), Error> {
    let client = connect(scenario, 0, scenario.password.as_deref()).await?;
    for Pair { key, value } in &scenario.pairs {
        assert_eq!(get(&client, &key.0).await?.as_ref(), Some(&value.0));
    }
    for key in &scenario.misses {
        assert_eq!(get(&client, &key.0).await?, None);
    }
    let mut keys: Vec<Key> = scenario.same_slot.iter().map(|pair| pair.key.0.as_slice().into()).collect();
    keys.push([&scenario.same_slot[0].key.0, b"-absent".as_slice()].concat().as_slice().into());
    let mut values: Vec<Option<Vec<u8>>> = scenario.same_slot.iter().map(|pair| Some(pair.value.0.clone())).collect();
    values.push(None);
    assert_eq!(client.mget::<Vec<Option<Vec<u8>>>, _>(keys.clone()).await?, values);
    assert_eq!(client.exists::<usize, _>(keys.clone()).await?, keys.len() - 1);

    let (Pair { key, value }, missing) = (&scenario.pairs[0], scenario.misses[0].0.as_slice());
    let (key, value) = (key.0.as_slice(), &value.0);
    assert_eq!(client.strlen::<usize, _>(key).await?, value.len());
    assert_eq!(client.strlen::<usize, _>(missing).await?, 0);
    let end = value.len() - 2;
    assert_eq!(client.getrange::<Vec<u8>, _>(key, 1, end).await?, value[1..=end]);
    assert_eq!(client.r#type::<String, _>(key).await?, "string");
    assert_eq!(client.ttl::<i64, _>(key).await?, -1);
    assert_eq!(client.ttl::<i64, _>(missing).await?, -2);
    assert_eq!(client.pttl::<i64, _>(key).await?, -1);

    let pipeline = client.pipeline();
    let piped: Vec<&Pair> = (0..50).flat_map(|_| &scenario.same_slot).collect();
    for pair in &piped {
        let _queued: () = pipeline.get(pair.key.0.as_slice()).await?;
    }
    let replies: Vec<Vec<u8>> = pipeline.all().await?;
    assert!(replies.iter().zip(piped).all(|(reply, pair)| *reply == pair.value.0));

    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut pages = if scenario.cluster {
        Box::pin(client.scan_cluster("*", Some(100), None)) as std::pin::Pin<Box<dyn futures::Stream<Item = _>>>
    } else {
        Box::pin(client.scan("*", Some(100), None))
    };
    while let Some(mut page) = pages.try_next().await? {
        seen.extend(page.take_results().into_iter().flatten().map(|key| key.as_bytes().to_vec()));
        page.next();
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), scenario.total);
    assert!(scenario.pairs.iter().all(|pair| seen.binary_search(&pair.key.0).is_ok()));

    let info: String = client.info(None).await?;
    assert!(info.contains("redis_version:"));

    if let Some(code) = scenario.refusal {
        let refused = client.set::<(), _, _>(key, "other", None, None, false).await.expect_err("a SET is refused");
        assert!(refused.details().starts_with(code), "{refused}");
        assert_eq!(get(&client, key).await?.as_ref(), Some(value));
    }
    client.quit().await?;
    if let Some(other) = &scenario.other_db {
        let selected = connect(scenario, u8::try_from(other.db).unwrap(), scenario.password.as_deref()).await?;
        assert_eq!(get(&selected, &other.pair.key.0).await?.as_ref(), Some(&other.pair.value.0));
        selected.quit().await?;
    }
    if scenario.password.is_some() {
        let refused = connect(scenario, 0, Some("wrong")).await.expect_err("a wrong password is refused");
        assert_eq!(refused.kind(), &ErrorKind::Auth, "{refused}");
    }
    Ok(())
}

async fn connect(scenario: &Scenario, db: u8, password: Option<&str>) -> Result<Client, Error> {
    let nodes = || scenario.nodes.iter().map(|node| Server::new(&node.host, node.port));
    let server = if scenario.cluster {
        ServerConfig::Clustered { hosts: nodes().collect(), policy: Default::default() }
    } else {
        ServerConfig::Centralized { server: nodes().next().expect("a node") }
    };
    let mut config = Config { server, password: password.map(str::to_owned), ..Config::default() };
    config.database = (!scenario.cluster).then_some(db);
    if scenario.resp == Some(3) {
        config.version = RespVersion::RESP3;
    }
    let client = Builder::from_config(config).build()?;
    client.init().await?;
    Ok(client)
}

async fn get(client: &Client, key: &[u8]) -> Result<Option<Vec<u8>>, Error> {
    client.get(key).await
}
