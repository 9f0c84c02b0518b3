//! One dataset in a temporary folder, and how tests build it.

use std::{
    collections::BTreeMap,
    fs,
    ops::{Bound, ControlFlow},
    path::{Path, PathBuf},
    sync::Arc,
};

use dataset::{
    Manifest, Repository,
    build::{Build, Built, Error, Format, OnDuplicate, OnStep, SourceFile, Value},
    manifest::Builder,
};
use shard::{OpenOptions, Shard};
use tempfile::TempDir;
use types::{Name, Timestamp};

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) repository: Repository,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let repository = open(&folder.path().join("facts"));
        Self { folder, repository }
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// Builds from `key,value` lines without a header.
    pub(crate) async fn build_rows(&self, rows: &str, shards: u16) -> Built {
        let path = self.write("rows.csv", format!("key,value\n{rows}"));
        run(Build { shards, ..plan(&path) }, &self.repository).await.unwrap()
    }

    /// The error of a build, with its causes, after which there is nothing in the dataset and no temporary file.
    pub(crate) async fn refusal(&self, build: Build) -> String {
        let error = run(build, &self.repository).await.unwrap_err();
        assert!(self.repository.versions().await.unwrap().is_empty());
        assert_eq!(self.left(), [""; 0], "left behind after: {error}");
        chain(&error)
    }

    /// What lies in the dataset's folder.
    pub(crate) fn left(&self) -> Vec<String> {
        names(&self.folder.path().join("facts"))
    }

    pub(crate) fn shard_folder(&self, manifest: &Manifest, shard: u16) -> PathBuf {
        self.repository.local_shard(manifest.version, shard).unwrap()
    }
}

pub(crate) fn open(folder: &Path) -> Repository {
    Repository::open(&format!("file://{}", folder.display())).unwrap()
}

pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

pub(crate) fn plan(source: &Path) -> Build {
    Build {
        name: Name::new("facts").unwrap(),
        sources: vec![SourceFile { path: source.to_owned(), format: Format::of(source).unwrap() }],
        key: "key".to_owned(),
        value: Value::Column("value".to_owned()),
        shards: 1,
        key_prefix: String::new(),
        on_duplicate: OnDuplicate::Error,
        memory: 0, // the least there is
        temp_dir: None,
        announce: true,
        builder: Builder { program: "test".to_owned(), host: "here".to_owned() },
        now: Timestamp(1_700_000_000_000),
    }
}

pub(crate) fn silent() -> OnStep {
    Arc::new(|_| ())
}

pub(crate) async fn run(build: Build, repository: &Repository) -> Result<Built, Error> {
    build.run(repository, silent()).await
}

/// Every record of a version on the local disk, read through RocksDB.
pub(crate) fn records(repository: &Repository, manifest: &Manifest) -> BTreeMap<String, String> {
    let mut records = BTreeMap::new();
    for entry in &manifest.shards {
        let folder = repository.local_shard(manifest.version, entry.index).unwrap();
        let shard = Shard::open(&folder, &OpenOptions::default()).unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let _ = shard
            .scan_from(Bound::Unbounded, |key, value| {
                assert!(records.insert(text(key), text(value)).is_none(), "a key in two shards");
                ControlFlow::Continue(())
            })
            .unwrap();
    }
    records
}

pub(crate) fn verify(repository: &Repository, manifest: &Manifest) -> Result<(), dataset::verify::Error> {
    manifest.shards.iter().try_for_each(|shard| {
        let folder = repository.local_shard(manifest.version, shard.index).unwrap();
        dataset::verify::shard(&folder, manifest, shard, &mut |_| ControlFlow::Continue(()))
    })
}

pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
