//! What is known of this machine's files before anybody scans them: a dataset of its packages, built, served by two servers, and
//! replaced by its next version while a sweep looks files up in it.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail};
use dataset::{
    Repository, VersionId,
    build::{Build, Format, OnDuplicate, SourceFile, Value},
    manifest::Builder,
};
use serde_json::Value as Json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use types::{Name, Timestamp};
use url::Url;

use super::packages::Packages;
use crate::up::{kv::Kv, layout::Layout};

pub(super) const NAME: &str = "packages";
/// As many as there are servers, so that each holds its own keys alone.
pub(super) const SHARDS: u16 = 2;
/// Rows in memory while building; a machine's packages are some ten megabytes.
const BUILD_MEMORY: usize = 64 << 20;
/// Fetching and opening some megabytes, on a machine whose cores are all busy.
const SWITCH_DEADLINE: Duration = Duration::from_secs(60);
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// The dataset of this demo.
#[derive(Debug)]
pub(super) struct Dataset {
    repository: Repository,
    packages: Arc<Packages>,
    /// Where the rows are written before they are built.
    folder: PathBuf,
}

/// Keys that the worker looked up so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Lookups {
    pub(super) lookups: u64,
    pub(super) hits: u64,
    pub(super) unavailable: u64,
}

impl Dataset {
    pub(super) fn new(layout: &Layout, packages: Packages) -> Result<Self> {
        let folder = layout.root().join("datasets");
        let of_packages = folder.join(NAME);
        std::fs::create_dir_all(&of_packages).with_context(|| format!("failed to create {}", of_packages.display()))?;
        let url = Url::from_file_path(&of_packages).ok().context("the folder's path cannot be written as a URL")?;
        let repository = Repository::open(url.as_str()).context("cannot open the dataset's folder")?;
        Ok(Self { repository, packages: Arc::new(packages), folder })
    }

    pub(super) fn url(&self) -> &str {
        self.repository.url()
    }

    pub(super) fn packages(&self) -> &Packages {
        &self.packages
    }

    /// Builds a version, exactly as `dragnet dataset build` does. `prevalence`: what the second version adds.
    pub(super) async fn build(&self, prevalence: bool, announce: bool) -> Result<VersionId> {
        let path = self.folder.join(if prevalence { "packages-2.jsonl" } else { "packages-1.jsonl" });
        let (packages, to) = (Arc::clone(&self.packages), path.clone());
        tokio::task::spawn_blocking(move || packages.write(&to, prevalence))
            .await
            .context("writing rows ended early")??;
        let build = Build {
            name: Name::new(NAME).context("the dataset has a valid name")?,
            sources: vec![SourceFile { path, format: Format::Jsonl }],
            key: "sha256".to_owned(),
            value: Value::Json,
            shards: SHARDS,
            key_prefix: String::new(),
            on_duplicate: OnDuplicate::Error,
            memory: BUILD_MEMORY,
            temp_dir: None,
            announce,
            builder: Builder { program: format!("dragnet {}", env!("CARGO_PKG_VERSION")), host: "demo".to_owned() },
            now: now(),
        };
        let built = build.run(&self.repository, Arc::new(|_| {})).await.context("failed to build the dataset")?;
        Ok(built.manifest().version)
    }

    pub(super) async fn announce(&self, version: VersionId) -> Result<()> {
        self.repository.announce(version).await.context("failed to announce the dataset's version")?;
        Ok(())
    }
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// Waits until every server serves a version, and says how long each took. Their order is that of the servers.
pub(super) async fn served(kv: &Kv, version: VersionId) -> Result<Vec<Duration>> {
    let begun = Instant::now();
    let wanted = version.to_string();
    let mut took: Vec<Option<Duration>> = vec![None; kv.admins().len()];
    while took.iter().any(Option::is_none) {
        for (admin, took) in kv.admins().iter().zip(&mut took) {
            if took.is_none() && serving(admin).await.is_some_and(|serving| serving == wanted) {
                *took = Some(begun.elapsed());
            }
        }
        if begun.elapsed() > SWITCH_DEADLINE {
            bail!("version {wanted} of {NAME} is not served by all servers within {} s", SWITCH_DEADLINE.as_secs());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(took.into_iter().flatten().collect())
}

/// What one server serves now; nothing while it starts.
async fn serving(admin: &str) -> Option<String> {
    let told: Json = serde_json::from_str(&get(admin, "/datasets").await.ok()?).ok()?;
    let of_ours = |dataset: &&Json| dataset.get("name").and_then(Json::as_str) == Some(NAME);
    let dataset = told.get("datasets")?.as_array()?.iter().find(of_ours)?;
    Some(dataset.get("serving")?.as_str()?.to_owned())
}

/// Asks the worker what it counted.
pub(super) async fn lookups(kv: &Kv) -> Result<Lookups> {
    let port = kv.metrics().context("the worker counts nothing")?;
    let text = get(&format!("127.0.0.1:{port}"), "/metrics").await?;
    let sum = |name: &str| -> u64 {
        let of_ours = |line: &&str| line.starts_with(&format!("dragnet_enrichment_{name}_total{{"));
        let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<u64>().ok());
        text.lines().filter(of_ours).filter_map(value).sum()
    };
    Ok(Lookups { lookups: sum("lookups"), hits: sum("hits"), unavailable: sum("unavailable") })
}

/// The body of an HTTP answer. All of it is on this machine, and ours.
async fn get(address: &str, path: &str) -> Result<String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        // Of version 1.0, so that the answer ends with the connection.
        stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(ANSWER_DEADLINE, asked).await;
    let answer = answer.ok().context("no answer in time").flatten().with_context(|| format!("cannot ask {address}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").with_context(|| format!("{address} does not speak HTTP"))?;
    if !head.lines().next().is_some_and(|status| status.contains(" 200 ")) {
        bail!("{address}{path}: {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}
