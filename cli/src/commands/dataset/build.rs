//! `dragnet dataset build`.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use clap::{ArgGroup, ValueEnum};
use dataset::{
    Announced, MAX_SHARDS,
    build::{Build, Built, Format, MIN_MEMORY, OnDuplicate, SourceFile, Value},
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

s3:// reads AWS_ENDPOINT, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and their kin from the environment.")]
pub struct Args {
    /// A file of rows: .parquet, .csv with a header, or .jsonl. Several are read one after another
    #[arg(long, value_name = "FILE", required = true)]
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
    let repository = open(&args.to)?;
    let no_name = || Usage(format!("the last part of {} is no name for a dataset; give one with --name", args.to));
    let name = args.name.clone().or_else(|| repository.name().cloned()).ok_or_else(no_name)?;
    let sources = sources(&args)?;
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
    // Not to be left half done by a key press: what lies in the temporary folder goes with the future.
    let built = tokio::select! {
        built = build.run(&repository, Arc::new(move |step| on_step.step(step))) => built?,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted.context("cannot wait for an interruption")?;
            return Err(anyhow!("interrupted; nothing was published"));
        }
    };
    drop(bar);
    tell(&built, begin.elapsed(), ctx)
}

fn tell(built: &Built, took: Duration, ctx: &mut Context) -> Result<()> {
    let manifest = &built.manifest;
    if ctx.out.is_json() {
        return ctx.out.object(&json!({
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
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }));
    }
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
    let source = |path: &PathBuf| {
        let format = match args.format {
            Some(FormatArg::Parquet) => Some(Format::Parquet),
            Some(FormatArg::Csv) => Some(Format::Csv),
            Some(FormatArg::Jsonl) => Some(Format::Jsonl),
            None => Format::of(path),
        };
        let unknown =
            || Usage(format!("{} ends neither in .parquet nor .csv nor .jsonl; say --format", path.display()));
        Ok(SourceFile { path: path.clone(), format: format.ok_or_else(unknown)? })
    };
    args.from.iter().map(source).collect()
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
