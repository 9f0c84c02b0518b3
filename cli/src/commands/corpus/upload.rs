//! `dragnet corpus upload`: files from here into object storage, where a corpus finds them.
//!
//! For trying out, for Jobs, and for pods without other tools. It is no synchronisation: nothing is ever removed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use store::Store;

use crate::{
    commands::Context,
    render::{bytes, count, plural},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Files keep their paths below the folder. What is there already with the same content is left alone, so the command can be \
repeated. Object storage is reached as everywhere: AWS_ENDPOINT, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...

Examples:
  dragnet corpus upload ./samples s3://my-bucket/samples
  dragnet corpus upload /samples file:///srv/samples")]
pub struct Args {
    /// The folder whose files are copied; links to files are followed, links to folders are not
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// Where to: s3://bucket/prefix or file:///absolute/path
    #[arg(value_name = "URL")]
    to: String,
}

#[derive(Debug, Default, PartialEq, Eq, serde::Serialize)]
struct Copied {
    files: u64,
    bytes: u64,
    /// There already, with the same content.
    unchanged: u64,
}

pub(super) async fn run(args: Args, ctx: &mut Context) -> Result<()> {
    let Args { folder, to } = args;
    ensure!(folder.is_dir(), "{} is no folder", folder.display());
    let store = Store::open(&to).with_context(|| format!("cannot use {to}"))?;
    let copied = copy(&folder, &store).await?;
    if ctx.out.is_json() {
        return ctx.out.object(&copied);
    }
    let unchanged = match copied.unchanged {
        0 => String::new(),
        some => format!("; {} unchanged", count(some)),
    };
    ctx.out.line(format!("{} copied to {to}, {}{unchanged}", plural(copied.files, "file"), bytes(copied.bytes)))
}

async fn copy(folder: &Path, store: &Store) -> Result<Copied> {
    let mut copied = Copied::default();
    for path in files(folder)? {
        let key = key_of(folder, &path)?;
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let is_there =
            store.size(&key).await? == u64::try_from(content.len()).ok() && store.get(&key).await? == content;
        if is_there {
            copied.unchanged += 1;
            continue;
        }
        copied.files += 1;
        copied.bytes += content.len() as u64;
        store.put(&key, content.into()).await.with_context(|| format!("cannot write {key} to {}", store.url()))?;
    }
    Ok(copied)
}

/// The object's name: the path below the folder.
fn key_of(folder: &Path, path: &Path) -> Result<String> {
    let below = path.strip_prefix(folder).context("a file is outside of its folder")?;
    let Some(key) = below.to_str() else { bail!("{} is no UTF-8, which names of objects are", path.display()) };
    Ok(key.to_owned())
}

/// All regular files, and links to such, in order.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let path = entry.path();
            // Kubernetes keeps the versions of a mounted ConfigMap in such folders, and links to them.
            if entry.file_name().to_string_lossy().starts_with("..") {
                continue;
            }
            let kind = entry.file_type().with_context(|| format!("cannot look at {}", path.display()))?;
            if kind.is_dir() {
                folders.push(path);
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn files_are_copied_once_and_again_when_they_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("a/b")).unwrap();
        fs::write(from.join("a/b/one"), "1").unwrap();
        fs::write(from.join("two"), "22").unwrap();
        let store = Store::open(&format!("file://{}", to.display())).unwrap();

        assert_eq!(copy(&from, &store).await.unwrap(), Copied { files: 2, bytes: 3, unchanged: 0 });
        assert_eq!(fs::read(to.join("a/b/one")).unwrap(), b"1");
        assert_eq!(copy(&from, &store).await.unwrap(), Copied { files: 0, bytes: 0, unchanged: 2 });

        fs::write(from.join("two"), "23").unwrap();
        assert_eq!(copy(&from, &store).await.unwrap(), Copied { files: 1, bytes: 2, unchanged: 1 });
        assert_eq!(fs::read(to.join("two")).unwrap(), b"23");
    }

    #[test]
    fn a_mounted_config_map_has_each_file_once() {
        let dir = tempfile::tempdir().unwrap();
        let version = dir.path().join("..2026_11_22");
        fs::create_dir(&version).unwrap();
        fs::write(version.join("note.txt"), "x").unwrap();
        symlink("..2026_11_22", dir.path().join("..data")).unwrap();
        symlink("..data/note.txt", dir.path().join("note.txt")).unwrap();
        assert_eq!(files(dir.path()).unwrap(), [dir.path().join("note.txt")]);
    }
}
