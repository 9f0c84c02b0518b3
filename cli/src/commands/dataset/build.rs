//! `dragnet dataset build`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use clap::{ArgGroup, ValueEnum};
use dataset::{
    Announced, MAX_SHARDS, Repository,
    build::{Build, Built, Format, MIN_MEMORY, OnDuplicate, Part, PartsId, SourceFile, Value},
    manifest::Builder,
};
use serde_json::json;
use tokio::time::Instant;
use types::Name;

use super::{now, open, progress::Bar};
use crate::{
    commands::Context,
    parse,
    render::{bytes, count, elapsed, plural, rate},
    report::Usage,
};

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("what").args(["value", "value_json"]).required(true))]
#[command(after_help = "\
A build makes a new, immutable version; those before stay. Rows may come in any order; the same rows give the same \
content digest, whatever their order and however many shards. Keys are spread over the shards as Redis Cluster \
spreads them. Memory is bounded by --memory; the temporary folder takes about twice the bytes of keys and values. \
Whatever goes wrong, nothing half-built is ever visible.

Examples:
  dragnet dataset build --from packages.parquet --key sha256 --value package --to file:///srv/datasets/packages
  dragnet dataset build --from senders.csv --key address --value-json --shards 4 --to s3://bucket/senders
  dragnet dataset build --from a.jsonl --from b.jsonl --key id --value-json --on-duplicate last \\
      --to file:///srv/datasets/users --no-announce

Several machines can build one version: each builds a shard with --part, and one of them puts them together with --finish. \
All name the same --build-id and say the same otherwise. Each step may be repeated.
  dragnet dataset build --from rows/ --key id --value-json --shards 2 --to URL --build-id nightly-7 --part 0    here
  dragnet dataset build --from rows/ --key id --value-json --shards 2 --to URL --build-id nightly-7 --part 1    there
  dragnet dataset build --from rows/ --key id --value-json --shards 2 --to URL --build-id nightly-7 --finish

s3:// reads AWS_ENDPOINT, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and their kin from the environment.")]
pub struct Args {
    /// A file of rows: .parquet, .csv with a header, or .jsonl. Or a folder of them. Several are read one after another
    #[arg(long, value_name = "FILE", required_unless_present = "finish")]
    from: Vec<PathBuf>,
    /// What the files are, if their names do not say
    #[arg(long, value_name = "FORMAT")]
    format: Option<FormatArg>,
    /// The column of keys: text or whole numbers, at most 64 KiB each
    #[arg(long, value_name = "COLUMN")]
    key: String,
    /// The column of values, at most 512 MiB each
    #[arg(long, value_name = "COLUMN")]
    value: Option<String>,
    /// Make all other columns the value, as one JSON object
    #[arg(long)]
    value_json: bool,
    /// Parts that servers may divide among themselves
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_SHARDS)))]
    shards: u16,
    /// The dataset: file:///absolute/path or s3://bucket/path
    #[arg(long, value_name = "URL")]
    to: String,
    /// The dataset's name, if not the last part of the URL
    #[arg(long)]
    name: Option<Name>,
    /// What clients put before a key when they ask; it is not stored with each key
    #[arg(long, default_value = "")]
    prefix: String,
    /// What happens if two rows have one key
    #[arg(long, value_name = "CHOICE", default_value = "error")]
    on_duplicate: OnDuplicateArg,
    /// Memory for rows, about; at least 16MiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = memory)]
    memory: u64,
    /// Where sorted parts lie meanwhile [default: beside a local dataset, else the system's]
    #[arg(long, value_name = "FOLDER")]
    temp_dir: Option<PathBuf>,
    /// Build only; servers go on with what they have
    #[arg(long)]
    no_announce: bool,
    /// What several machines call the version that they build together
    #[arg(long, value_name = "ID")]
    build_id: Option<PartsId>,
    /// Build one shard of it, counted from 0
    #[arg(long, value_name = "SHARD", requires = "build_id", conflicts_with = "finish")]
    part: Option<u16>,
    /// Make the version of the shards that are built. Rows are not read any more
    #[arg(long, requires = "build_id")]
    finish: bool,
    /// Write the answer as JSON to this file as well
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Parquet,
    Csv,
    Jsonl,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnDuplicateArg {
    /// Refuse, and name both rows
    Error,
    /// Keep the first row
    First,
    /// Keep the last row
    Last,
}

pub(super) async fn run(args: Args, ctx: &mut Context) -> Result<()> {
    if args.build_id.is_some() && args.part.is_none() && !args.finish {
        return Err(Usage("--build-id goes with --part, or with --finish".to_owned()).into());
    }
    let repository = open(&args.to)?;
    let no_name = || Usage(format!("the last part of {} is no name for a dataset; give one with --name", args.to));
    let name = args.name.clone().or_else(|| repository.name().cloned()).ok_or_else(no_name)?;
    let sources = if args.finish { Vec::new() } else { sources(&args)? };
    let value = match args.value {
        Some(column) => Value::Column(column),
        None => Value::Json,
    };
    let build = Build {
        name,
        sources,
        key: args.key,
        value,
        shards: args.shards,
        key_prefix: args.prefix,
        on_duplicate: match args.on_duplicate {
            OnDuplicateArg::Error => OnDuplicate::Error,
            OnDuplicateArg::First => OnDuplicate::First,
            OnDuplicateArg::Last => OnDuplicate::Last,
        },
        memory: usize::try_from(args.memory).context("--memory is more than this machine can address")?,
        temp_dir: args.temp_dir,
        announce: !args.no_announce,
        builder: Builder { program: format!("dragnet {}", telemetry::build_info()), host: host() },
        now: now()?,
    };
    let bar = Bar::new(ctx.out.is_json());
    let (begin, on_step) = (Instant::now(), bar.clone());
    let work = work(args.build_id, args.part);
    // Not to be left half done by a key press: what lies in the temporary folder goes with the future.
    let made = tokio::select! {
        made = work.run(build, &repository, on_step) => made?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot wait for an interruption")?;
            return Err(anyhow!("interrupted; nothing was published"));
        }
    };
    drop(bar);
    let took = begin.elapsed();
    let answer = made.to_json(took);
    if let Some(path) = &args.report {
        fs::write(path, answer.to_string()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    match (ctx.out.is_json(), &made) {
        (true, _) => ctx.out.object(&answer),
        (false, Made::Version(built)) => tell(built, took, ctx),
        (false, Made::Part(part)) => {
            let (keys, size) = (plural(part.entry.keys, "key"), bytes(part.entry.bytes));
            ctx.out.line(format!("shard {} is built: {keys} of {size}, in {}", part.entry.index, elapsed(took)))
        }
    }
}

/// What is asked for.
enum Work {
    Whole,
    Part(PartsId, u16),
    Finish(PartsId),
}

enum Made {
    Version(Box<Built>),
    Part(Part),
}

fn work(id: Option<PartsId>, part: Option<u16>) -> Work {
    match (id, part) {
        (Some(id), Some(shard)) => Work::Part(id, shard),
        (Some(id), None) => Work::Finish(id),
        (None, _) => Work::Whole,
    }
}

impl Work {
    async fn run(&self, build: Build, repository: &Repository, bar: Bar) -> Result<Made, dataset::build::Error> {
        let on_step: dataset::build::OnStep = Arc::new(move |step| bar.step(step));
        match self {
            Self::Whole => build.run(repository, on_step).await.map(Box::new).map(Made::Version),
            Self::Part(id, shard) => build.run_part(*shard, id, repository, on_step).await.map(Made::Part),
            Self::Finish(id) => build.finish(id, repository).await.map(Box::new).map(Made::Version),
        }
    }
}

impl Made {
    fn to_json(&self, took: Duration) -> serde_json::Value {
        let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        match self {
            Self::Version(built) => {
                let manifest = built.manifest();
                json!({
                    "dataset": manifest.dataset,
                    "version": manifest.version,
                    "content_digest": manifest.content_digest,
                    "keys": manifest.keys,
                    "bytes": manifest.bytes,
                    "file_bytes": manifest.file_bytes(),
                    "shards": manifest.shards.len(),
                    "rows": manifest.source.rows,
                    "duplicate_rows": manifest.source.duplicate_rows,
                    "announced": matches!(built.announced, Some(Announced::Current | Announced::Unchanged)),
                    "took_ms": took_ms,
                })
            }
            Self::Part(Part { entry, rows }) => json!({
                "shard": entry.index,
                "keys": entry.keys,
                "bytes": entry.bytes,
                "file_bytes": entry.file_bytes(),
                "rows": rows,
                "took_ms": took_ms,
            }),
        }
    }
}

fn tell(built: &Built, took: Duration, ctx: &mut Context) -> Result<()> {
    let manifest = &built.manifest;
    let shards = plural(manifest.shards.len() as u64, "shard");
    let speed = rate(manifest.bytes, took);
    let (keys, size) = (plural(manifest.keys, "key"), bytes(manifest.bytes));
    ctx.out.line(format!("dataset {} has version {}", manifest.dataset, manifest.version))?;
    ctx.out.line(format!("{keys} of {size} in {shards}, in {} ({speed})", elapsed(took)))?;
    if manifest.source.duplicate_rows > 0 {
        ctx.out.line(format!("{} rows gave way to others of the same key", count(manifest.source.duplicate_rows)))?;
    }
    ctx.out.line(match built.announced {
        Some(Announced::Current | Announced::Unchanged) => "it is announced: servers switch to it".to_owned(),
        Some(Announced::Superseded { by }) => format!("it is not announced: {by} was built later, and announced first"),
        None => format!("it is not announced yet: dragnet dataset announce URL {}", manifest.version),
    })
}

fn sources(args: &Args) -> Result<Vec<SourceFile>> {
    let source = |path: &Path| -> Result<SourceFile> {
        let format = match args.format {
            Some(FormatArg::Parquet) => Some(Format::Parquet),
            Some(FormatArg::Csv) => Some(Format::Csv),
            Some(FormatArg::Jsonl) => Some(Format::Jsonl),
            None => Format::of(path),
        };
        let unknown =
            || Usage(format!("{} ends neither in .parquet nor .csv nor .jsonl; say --format", path.display()));
        Ok(SourceFile { path: path.to_owned(), format: format.ok_or_else(unknown)? })
    };
    let mut sources = Vec::new();
    for path in &args.from {
        if !path.is_dir() {
            sources.push(source(path)?);
            continue;
        }
        for file in files_in(path).with_context(|| format!("cannot list {}", path.display()))? {
            sources.push(source(&file)?);
        }
    }
    Ok(sources)
}

/// The files right in a folder, by name; hidden ones are none.
fn files_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

fn memory(text: &str) -> Result<u64, String> {
    match parse::size(text)? {
        size if size < MIN_MEMORY as u64 => Err(format!("must be at least {}", bytes(MIN_MEMORY as u64))),
        size => Ok(size),
    }
}

/// For people who wonder where a version came from.
fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
