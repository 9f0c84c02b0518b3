//! What a key-value server makes of a dataset.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use dataset::Repository;
use redis::Value;

use crate::commands::Context;

/// A server answers this from memory.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the server says about this dataset: one object for each time that it serves it.
pub(super) async fn states(address: &str, repository: &Repository) -> Result<Vec<serde_json::Value>> {
    let asked = async {
        let client = redis::Client::open(format!("redis://{address}/?protocol=resp3"))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("KV.DATASETS").query_async::<Value>(&mut connection).await
    };
    let answer = tokio::time::timeout(DEADLINE, asked).await.map_err(|_| anyhow!("no answer in {DEADLINE:?}"))?;
    let serde_json::Value::Array(states) = json(answer.with_context(|| format!("failed to ask {address}"))?) else {
        return Err(anyhow!("{address} is no Dragnet key-value server"));
    };
    let is_ours = |state: &serde_json::Value| {
        let url = state["url"].as_str().map(|url| url.trim_end_matches('/'));
        url == Some(repository.url())
    };
    Ok(states.into_iter().filter(is_ours).collect())
}

pub(super) fn show(address: &str, states: &[serde_json::Value], ctx: &mut Context) -> Result<()> {
    if states.is_empty() {
        return ctx.out.line(format!("\nserver {address} does not serve this dataset"));
    }
    for state in states {
        ctx.out.line(format!("\nserver       {address}"))?;
        for (name, value) in state.as_object().into_iter().flatten() {
            let text = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) if text.is_empty() => continue,
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            ctx.out.line(format!("  {name:24} {text}"))?;
        }
    }
    Ok(())
}

fn json(value: Value) -> serde_json::Value {
    match value {
        Value::Int(number) => number.into(),
        Value::Double(number) => number.into(),
        Value::Boolean(value) => value.into(),
        Value::BulkString(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        Value::SimpleString(text) => text.into(),
        Value::Array(values) | Value::Set(values) => values.into_iter().map(json).collect(),
        Value::Map(fields) => {
            let name = |name| match json(name) {
                serde_json::Value::String(name) => name,
                other => other.to_string(),
            };
            fields.into_iter().map(|(field, value)| (name(field), json(value))).collect()
        }
        _ => serde_json::Value::Null,
    }
}
