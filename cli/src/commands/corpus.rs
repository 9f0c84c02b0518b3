//! `dragnet corpus`: where the files are.

mod upload;

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use protocol::v1;
use serde::Serialize;
use types::Name;
use url::Url;

use super::{Context, skipped::Skipped};
use crate::{
    parse,
    render::{Align, Table, bytes, count, plural, utc},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Add a folder of files, or change the limits and datasets of one that was added
    Add(Add),
    /// List corpora
    #[command(after_help = "Examples:\n  dragnet corpus list\n  dragnet corpus list --json | jq .files")]
    List,
    /// Show one corpus: its size, what was skipped, how the last listing went
    #[command(after_help = "Example:\n  dragnet corpus show programs")]
    Show {
        /// The corpus
        name: Name,
    },
    /// Copy the files of a folder into object storage, for a corpus there
    Upload(upload::Args),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
The folder is listed again and again, so files that arrive are scanned as they come. The scan workers read it, \
so they have to see it under the same path.

Examples:
  dragnet corpus add programs /usr/bin
  dragnet corpus add incoming /srv/incoming --list-every 2s --max-file-size 1GiB
  dragnet corpus add programs /usr/bin --dataset packages
  dragnet corpus add windows s3://bucket/uploads --include '**/*.exe' --include '**/*.dll'
  dragnet corpus add programs file:///usr/bin")]
pub struct Add {
    /// The corpus: a-z, 0-9, '-' and '.'
    name: Name,
    /// A folder, or a URL that begins with file:// or s3://
    #[arg(value_name = "PATH|URL")]
    place: PathBuf,
    /// Larger files are not scanned; they are counted and listed as too_large. At most 2GB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = parse::file_limit)]
    max_file_size: u64,
    /// Time between two listings
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse::duration)]
    list_every: Duration,
    /// A dataset to look its files up in by SHA-256; findings then say what it knows of them, and rules may ask. May be
    /// repeated: of two that know the same, the first is believed. Without it none, also where there were some
    #[arg(long = "dataset", value_name = "NAME")]
    datasets: Vec<Name>,
    /// Only files whose path below the folder matches, such as '**/*.exe': '*' is anything but '/', '**/' any folders. May
    /// be repeated. Files that are not meant any more count as gone
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// No files whose path below the folder matches, even if included. May be repeated
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<String>,
}

/// A corpus as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    tenant: &'a str,
    name: &'a str,
    id: u32,
    url: &'a str,
    segments: u32,
    files: u64,
    bytes: u64,
    gone_files: u64,
    max_file_bytes: u64,
    listing_interval_ms: u64,
    datasets: &'a [String],
    skipped: Skipped,
    listing_now: bool,
    last_listed_at_ms: Option<u64>,
    listing_error: Option<&'a str>,
}

pub async fn run(command: Command, ctx: &mut Context) -> Result<()> {
    match command {
        Command::Add(args) => add(args, ctx).await,
        Command::List => list(ctx).await,
        Command::Show { name } => show(&name, ctx).await,
        Command::Upload(args) => upload::run(args, ctx).await,
    }
}

async fn add(args: Add, ctx: &mut Context) -> Result<()> {
    let Add { name, place, max_file_size, list_every, datasets, include, exclude } = args;
    let url = match bucket(&place) {
        Some(url) => url,
        None => {
            let folder = folder(&place)?;
            if let Err(error) = fs::read_dir(&folder) {
                // Not refused: the workers may run as a user who can.
                eprintln!("warning: you cannot read {} ({error}); the workers have to", folder.display());
            }
            url_of(&folder)?
        }
    };
    let request = v1::PutCorpusRequest {
        key: Some(ctx.cluster.key(&name)),
        url: url.clone(),
        max_file_bytes: max_file_size,
        listing_interval_ms: u64::try_from(list_every.as_millis()).context("the time between listings is too long")?,
        datasets: datasets.iter().map(ToString::to_string).collect(),
        include,
        exclude,
    };
    let answer = ctx.cluster.put_corpus(request).await?;
    if ctx.out.is_json() {
        let created = answer.created;
        let answer = serde_json::json!({
            "name": name, "id": answer.id, "url": url, "created": created, "datasets": datasets
        });
        return ctx.out.object(&answer);
    }
    let looked_up = match datasets.is_empty() {
        true => String::new(),
        false => format!("; its files are looked up in {}", known(&datasets)),
    };
    if answer.created {
        ctx.out.line(format!("corpus {name} added: {url}{looked_up}"))?;
        ctx.out.line("its files are listed now; see `dragnet corpus list` and `dragnet hunt watch`")
    } else {
        ctx.out.line(format!("corpus {name} was there already; its limits are as you said now{looked_up}"))
    }
}

fn known<T: ToString>(datasets: &[T]) -> String {
    datasets.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The URL of a bucket, which the workers must be able to read; nobody else looks into it.
fn bucket(place: &Path) -> Option<String> {
    let text = place.to_str()?;
    text.starts_with("s3://").then(|| text.trim_end_matches('/').to_owned())
}

/// The folder that a path or a `file://` URL names, absolute and without symbolic links.
///
/// Links are resolved here because a listing does not follow them: `/bin` is one on most systems.
pub fn folder(place: &Path) -> Result<PathBuf> {
    let path = match place.to_str().filter(|text| text.contains("://")) {
        None => place.to_owned(),
        Some(text) => {
            let url = Url::parse(text).with_context(|| format!("{text} is no URL"))?;
            if url.scheme() != "file" {
                bail!("{text}: only folders, file:// and s3:// URLs can be scanned by this version");
            }
            url.to_file_path().ok().with_context(|| format!("{text} names no path; write file:///absolute/path"))?
        }
    };
    let shown = path.display();
    let folder = match fs::canonicalize(&path) {
        Ok(folder) => folder,
        Err(error) if error.kind() == ErrorKind::NotFound => bail!("{shown} does not exist"),
        Err(error) => return Err(error).with_context(|| format!("cannot reach {shown}")),
    };
    let metadata = fs::metadata(&folder).with_context(|| format!("cannot look at {shown}"))?;
    if metadata.is_file() {
        let parent = folder.parent().unwrap_or(Path::new("/")).display();
        bail!("{shown} is a file; a corpus is a folder, for example {parent}");
    }
    if !metadata.is_dir() {
        bail!("{shown} is neither a file nor a folder; a corpus is a folder");
    }
    Ok(folder)
}

pub fn url_of(folder: &Path) -> Result<String> {
    match Url::from_file_path(folder) {
        Ok(url) => Ok(url.into()),
        Err(()) => bail!("{} cannot be written as a file:// URL", folder.display()),
    }
}

async fn list(ctx: &mut Context) -> Result<()> {
    let corpora = ctx.cluster.corpora().await?;
    if ctx.out.is_json() {
        return corpora.iter().try_for_each(|corpus| ctx.out.object(&row(corpus)));
    }
    if corpora.is_empty() {
        return ctx.out.line("no corpora yet; add one: dragnet corpus add programs /usr/bin");
    }
    let right = Align::Right;
    let mut table = Table::new(&[
        ("name", Align::Left),
        ("segments", right),
        ("files", right),
        ("size", right),
        ("gone", right),
        ("skipped", right),
        ("listing", Align::Left),
        ("datasets", Align::Left),
        ("place", Align::Left),
    ]);
    for corpus in &corpora {
        let Row { name, url, segments, files, bytes: size, gone_files, datasets, ref skipped, .. } = row(corpus);
        table.row([
            name.to_owned(),
            count(segments.into()),
            count(files),
            bytes(size),
            count(gone_files),
            count(skipped.sum()),
            listing(corpus),
            if datasets.is_empty() { "-".to_owned() } else { known(datasets) },
            url.to_owned(),
        ]);
    }
    ctx.out.line(table)
}

async fn show(name: &Name, ctx: &mut Context) -> Result<()> {
    let corpora = ctx.cluster.corpora().await?;
    let found = corpora.iter().find(|corpus| row(corpus).name == name.as_str());
    let corpus = found.with_context(|| format!("there is no corpus {name}; `dragnet corpus list` shows all"))?;
    let row = row(corpus);
    if ctx.out.is_json() {
        return ctx.out.object(&row);
    }
    let skipped = row.skipped.text();
    let gone = if row.gone_files == 1 { "file is" } else { "files are" };
    let every = Duration::from_millis(row.listing_interval_ms);
    let last = row.last_listed_at_ms.map_or("never yet".to_owned(), utc);
    let mut lines = vec![
        format!("corpus       {}/{}", row.tenant, row.name),
        format!("place        {}", row.url),
        format!(
            "files        {} in {}, {}",
            count(row.files),
            plural(row.segments.into(), "segment"),
            bytes(row.bytes)
        ),
        format!("gone         {} {gone} gone or changed since", count(row.gone_files)),
        format!("largest      files up to {} are scanned", bytes(row.max_file_bytes)),
        format!("listed       {last}, again every {every:?}{}", if row.listing_now { "; under way now" } else { "" }),
        format!("datasets     {}", if row.datasets.is_empty() { "none".to_owned() } else { known(row.datasets) }),
        format!("skipped      {}", if skipped.is_empty() { "nothing" } else { &skipped }),
    ];
    if let Some(error) = row.listing_error {
        lines.push(format!("failed       the last listing: {error}"));
    }
    ctx.out.line(lines.join("\n"))
}

fn listing(corpus: &v1::Corpus) -> String {
    match (corpus.listing_now, corpus.listing_error.as_str(), corpus.last_listed_at_ms) {
        (_, error, _) if !error.is_empty() => format!("failed: {error}"),
        (true, _, None) => "first one under way".to_owned(),
        (_, _, None) => "waiting for a worker".to_owned(),
        (_, _, Some(at)) => utc(at),
    }
}

fn row(corpus: &v1::Corpus) -> Row<'_> {
    let key = corpus.key.as_ref();
    Row {
        tenant: key.map_or("", |key| &key.tenant),
        name: key.map_or("", |key| &key.name),
        id: corpus.id,
        url: &corpus.url,
        segments: corpus.segments,
        files: corpus.files,
        bytes: corpus.bytes,
        gone_files: corpus.gone_files,
        max_file_bytes: corpus.max_file_bytes,
        listing_interval_ms: corpus.listing_interval_ms,
        datasets: &corpus.datasets,
        skipped: Skipped::of(corpus.skipped),
        listing_now: corpus.listing_now,
        last_listed_at_ms: corpus.last_listed_at_ms,
        listing_error: Some(corpus.listing_error.as_str()).filter(|error| !error.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_told_from_everything_else() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a file");
        fs::write(&file, "x").unwrap();
        let refusal = |place: &Path| format!("{:#}", folder(place).unwrap_err());
        assert!(refusal(&file).contains("is a file"));
        assert!(refusal(&dir.path().join("nothing")).contains("does not exist"));
        assert!(refusal(Path::new("/dev/null")).contains("neither"));
        assert!(refusal(Path::new("http://host/x")).contains("file://"));
        assert_eq!(bucket(Path::new("s3://bucket/x/")).as_deref(), Some("s3://bucket/x"));
        assert_eq!(bucket(dir.path()), None);
        assert_eq!(folder(dir.path()).unwrap(), fs::canonicalize(dir.path()).unwrap());
    }

    #[test]
    fn urls_and_paths_mean_the_same_folder() {
        let dir = tempfile::tempdir().unwrap();
        let spaced = fs::canonicalize(dir.path()).unwrap().join("with space%");
        fs::create_dir(&spaced).unwrap();
        let url = url_of(&spaced).unwrap();
        assert!(url.ends_with("with%20space%25"), "{url}");
        assert_eq!(folder(Path::new(&url)).unwrap(), spaced);
    }
}
