//! What a key-value server makes of a dataset.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use dataset::Repository;
use redis::{IntoConnectionInfo as _, RedisError, Value};

use crate::{commands::Context, render::utc};

/// A server answers this from memory.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a server wants to hear before anything else.
pub(super) struct Password {
    file: PathBuf,
    text: String,
}

impl Password {
    /// The first line of a file, as the server reads its own.
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file);
        let text = text.with_context(|| format!("failed to read the password in {}", file.display()))?;
        let line = text.split('\n').next().unwrap_or_default();
        match line.strip_suffix('\r').unwrap_or(line) {
            "" => bail!("the password in {} is empty", file.display()),
            line => Ok(Self { file: file.to_owned(), text: line.to_owned() }),
        }
    }
}

/// What the server says about this dataset: one object for each time that it serves it.
pub(super) async fn states(
    address: &str,
    password: Option<&Password>,
    repository: &Repository,
) -> Result<Vec<serde_json::Value>> {
    let asked = async {
        let mut connection = client(address, password)?.get_multiplexed_async_connection().await?;
        redis::cmd("KV.DATASETS").query_async::<Value>(&mut connection).await
    };
    let answer = tokio::time::timeout(DEADLINE, asked).await.map_err(|_| anyhow!("no answer in {DEADLINE:?}"))?;
    let serde_json::Value::Array(states) = json(answer.map_err(|error| refusal(error, address, password))?) else {
        return Err(anyhow!("{address} is no Dragnet key-value server"));
    };
    let is_ours = |state: &serde_json::Value| {
        let url = state["url"].as_str().map(|url| url.trim_end_matches('/'));
        url == Some(repository.url())
    };
    Ok(states.into_iter().filter(is_ours).collect())
}

fn client(address: &str, password: Option<&Password>) -> Result<redis::Client, RedisError> {
    let place = format!("redis://{address}/?protocol=resp3").into_connection_info()?;
    // Said as the protocol is agreed on. Within the URL it would have to be escaped.
    let settings = match password {
        Some(password) => place.redis_settings().clone().set_password(&password.text),
        None => place.redis_settings().clone(),
    };
    redis::Client::open(place.set_redis_settings(settings))
}

/// Why there is no answer, and what to do about it if it is for want of the right password.
fn refusal(error: RedisError, address: &str, password: Option<&Password>) -> anyhow::Error {
    match (error.code(), password) {
        (Some("NOAUTH"), None) => {
            anyhow!("it asks for a password: give --password-file a file whose first line it is")
        }
        (Some("WRONGPASS"), Some(Password { file, .. })) => anyhow!(
            "it refuses the password in {}: give --password-file the one that the server was started with",
            file.display()
        ),
        _ => anyhow::Error::new(error).context(format!("failed to ask {address}")),
    }
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
                error if name == "last_error" => failure(error),
                other => other.to_string(),
            };
            ctx.out.line(format!("  {name:24} {text}"))?;
        }
    }
    Ok(())
}

/// A server's last error as one line: when, what failed, of which version, in which file and where in it, and why.
fn failure(error: &serde_json::Value) -> String {
    let text = |name: &str| error[name].as_str();
    let number = |name: &str| error[name].as_u64();
    let Some(why) = text("error") else { return error.to_string() };
    let about = [
        number("at_ms").map(utc),
        text("kind").map(what_failed),
        text("version").map(|version| format!("version {version}")),
        text("file").map(|file| format!("file {file}")),
        number("offset").map(|offset| format!("offset {offset}")),
    ];
    let about: Vec<String> = about.into_iter().flatten().collect();
    format!("{}: {why}", about.join(", "))
}

/// The server's word for a kind of error, in more of them.
fn what_failed(kind: &str) -> String {
    let words = match kind {
        "storage" => "object storage failed",
        "verification" => "verification failed",
        "no_space" => "its disk has no room",
        "local" => "its disk or memory failed",
        later => later,
    };
    words.to_owned()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_error_is_one_line_of_what_is_known_about_it() {
        let error = json!({
            "at_ms": 1_795_355_063_000_u64, "kind": "no_space", "version": "000002-1f0c22ab", "file": "/data/x.sst",
            "offset": 4_194_304, "error": "failed to write: No space left on device",
        });
        let told = "2026-11-22 13:44:23Z, its disk has no room, version 000002-1f0c22ab, file /data/x.sst, offset 4194304: \
                    failed to write: No space left on device";
        assert_eq!(failure(&error), told);
        let vague = json!({ "at_ms": 0, "kind": "storage", "version": null, "file": null, "offset": null, "error": "no answer" });
        assert_eq!(failure(&vague), "1970-01-01 00:00:00Z, object storage failed: no answer");
        assert_eq!(failure(&json!({ "of": "a later server" })), r#"{"of":"a later server"}"#);
    }

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "open sesame\r\nand more").unwrap();
        assert_eq!(Password::read(file.path()).unwrap().text, "open sesame");
        fs::write(file.path(), "\nopen sesame").unwrap();
        let refused = Password::read(file.path()).err().unwrap().to_string();
        assert!(refused.contains("is empty") && refused.contains(file.path().to_str().unwrap()), "{refused}");
    }
}
