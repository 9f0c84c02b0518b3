//! The crate `redis`, in its asynchronous forms.

use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::cluster::ClusterClientBuilder;
use redis::{
    AsyncCommands, Client, ErrorKind, IntoConnectionInfo, ProtocolVersion, RedisError, ServerErrorKind, Value,
};

use crate::scenario::{Pair, Scenario};
use crate::servers::in_all_scenarios;

/// Its own half second for an answer is not much on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn redis_rs_alone_and_in_a_cluster() {
    in_all_scenarios(|scenario| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(scenario)).unwrap_or_else(|error| panic!("redis-rs: {scenario}: {error:?}"));
    });
}

async fn run(scenario: &Scenario) -> Result<(), RedisError> {
    if scenario.cluster {
        let nodes = scenario.nodes.iter().map(|node| format!("redis://{}:{}", node.host, node.port));
        let mut builder = ClusterClientBuilder::new(nodes).connection_timeout(PATIENCE);
        if let Some(resp) = scenario.resp {
            builder = builder.use_protocol(version(resp));
        }
        let mut connection = builder.build()?.get_async_connection().await?;
        return commands(&mut connection, scenario).await;
    }
    let mut connection = connect(scenario, 0, scenario.password.as_deref()).await?;
    commands(&mut connection, scenario).await?;
    scan(&mut connection, scenario).await?;
    if let Some(other) = &scenario.other_db {
        let mut selected = connect(scenario, other.db, scenario.password.as_deref()).await?;
        assert_eq!(get(&mut selected, &other.pair.key.0).await?.as_ref(), Some(&other.pair.value.0));
        assert_eq!(get(&mut connection, &other.pair.key.0).await?, None);
    }
    if scenario.password.is_some() {
        let refused = connect(scenario, 0, Some("wrong")).await.expect_err("a wrong password is refused");
        assert!(
            refused.to_string().contains("WRONGPASS") || refused.kind() == ErrorKind::AuthenticationFailed,
            "{refused}"
        );
    }
    Ok(())
}

async fn connect(
    scenario: &Scenario,
    db: u32,
    password: Option<&str>,
) -> Result<redis::aio::MultiplexedConnection, RedisError> {
    let node = &scenario.nodes[0];
    let login = password.map(|password| format!(":{password}@")).unwrap_or_default();
    let info = format!("redis://{login}{}:{}/{db}", node.host, node.port).into_connection_info()?;
    let mut settings = info.redis_settings().clone();
    if let Some(resp) = scenario.resp {
        settings = settings.set_protocol(version(resp));
    }
    let patient =
        redis::AsyncConnectionConfig::new().set_connection_timeout(Some(PATIENCE)).set_response_timeout(Some(PATIENCE));
    Client::open(info.set_redis_settings(settings))?.get_multiplexed_async_connection_with_config(&patient).await
}

fn version(resp: u8) -> ProtocolVersion {
    if resp == 3 { ProtocolVersion::RESP3 } else { ProtocolVersion::RESP2 }
}

async fn get<C: ConnectionLike + Send + Sync>(connection: &mut C, key: &[u8]) -> Result<Option<Vec<u8>>, RedisError> {
    connection.get(key).await
}

async fn commands<C>(connection: &mut C, scenario: &Scenario) -> Result<(), RedisError>
where
    C: ConnectionLike + Send + Sync,
{
    for Pair { key, value } in &scenario.pairs {
        assert_eq!(get(connection, &key.0).await?.as_ref(), Some(&value.0));
    }
    for key in &scenario.misses {
        assert_eq!(get(connection, &key.0).await?, None);
    }
    let mut keys: Vec<Vec<u8>> = scenario.same_slot.iter().map(|pair| pair.key.0.clone()).collect();
    keys.push([keys[0].as_slice(), b"-absent"].concat());
    let mut values: Vec<Option<Vec<u8>>> = scenario.same_slot.iter().map(|pair| Some(pair.value.0.clone())).collect();
    values.push(None);
    assert_eq!(connection.mget::<_, Vec<Option<Vec<u8>>>>(&keys).await?, values);
    assert_eq!(connection.exists::<_, usize>(&keys).await?, keys.len() - 1);

    let (Pair { key, value }, missing) = (&scenario.pairs[0], &scenario.misses[0].0);
    let (key, value) = (&key.0, &value.0);
    assert_eq!(connection.strlen::<_, usize>(key).await?, value.len());
    assert_eq!(connection.strlen::<_, usize>(missing).await?, 0);
    assert_eq!(connection.getrange::<_, Vec<u8>>(key, 1, -2).await?, value[1..value.len() - 1]);
    assert_eq!(connection.key_type::<_, String>(key).await?, "string");
    assert_eq!(connection.key_type::<_, String>(missing).await?, "none");
    assert_eq!(connection.ttl::<_, i64>(key).await?, -1);
    assert_eq!(connection.ttl::<_, i64>(missing).await?, -2);
    assert_eq!(connection.pttl::<_, i64>(key).await?, -1);

    let mut pipeline = redis::pipe();
    let piped: Vec<&Pair> = (0..50).flat_map(|_| &scenario.same_slot).collect();
    for pair in &piped {
        pipeline.get(&pair.key.0);
    }
    let replies: Vec<Vec<u8>> = pipeline.query_async(connection).await?;
    assert!(replies.iter().zip(piped).all(|(reply, pair)| *reply == pair.value.0));

    let info: Value = redis::cmd("INFO").query_async(connection).await?;
    assert!(format!("{info:?}").contains("redis_version:"));

    if let Some(code) = scenario.refusal {
        let refused = connection.set::<_, _, ()>(key, "other").await.expect_err("a SET is refused");
        let expected = if code == "READONLY" { ServerErrorKind::ReadOnly } else { ServerErrorKind::NoPerm };
        assert_eq!(refused.kind(), ErrorKind::Server(expected), "{refused}");
        assert_eq!(get(connection, key).await?.as_ref(), Some(value));
    }
    Ok(())
}

async fn scan(connection: &mut redis::aio::MultiplexedConnection, scenario: &Scenario) -> Result<(), RedisError> {
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut keys = connection.scan::<Vec<u8>>().await?;
    while let Some(key) = keys.next_item().await {
        seen.push(key?);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), scenario.total);
    assert!(scenario.pairs.iter().all(|pair| seen.binary_search(&pair.key.0).is_ok()));
    Ok(())
}
