//! Clients from their registries, as their lock files pin them, kept below the user's cache between runs.

use std::env;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{program, run};

/// The folder of the clients' scripts in this repository. Asked when the test runs: a program that was built in another checkout
/// and lies in the shared target folder would name that one.
pub(crate) fn scripts() -> PathBuf {
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it")).join("tests/conformance/clients")
}

/// A Python that has redis-py; `None` where there is no Python.
pub(crate) fn python() -> io::Result<Option<PathBuf>> {
    let Some(python) = program("python3") else { return Ok(None) };
    let requirements = scripts().join("python/requirements.txt");
    let folder = install("python", &[&requirements], |folder| {
        run(Command::new(&python).args(["-m", "venv"]).arg(folder))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"];
        run(Command::new(folder.join("bin/python")).args(pip).arg(&requirements))
    })?;
    Ok(Some(folder.join("bin/python")))
}

/// The `node_modules` with both of Node's clients; `None` where there is no Node.
pub(crate) fn node_modules() -> io::Result<Option<PathBuf>> {
    let (Some(_node), Some(npm)) = (program("node"), program("npm")) else { return Ok(None) };
    let files = ["package.json", "package-lock.json"].map(|file| scripts().join("node").join(file));
    let folder = install("node", &[&files[0], &files[1]], |folder| {
        fs::create_dir(folder)?;
        for file in &files {
            fs::copy(file, folder.join(file.file_name().expect("has a name")))?;
        }
        run(Command::new(&npm).args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]).current_dir(folder))
    })?;
    Ok(Some(folder.join("node_modules")))
}

/// The program with the Go clients; `None` where there is no Go.
pub(crate) fn go() -> io::Result<Option<PathBuf>> {
    let Some(go) = program("go") else { return Ok(None) };
    let sources = scripts().join("go");
    let files = ["go.mod", "go.sum", "main.go", "goredis.go", "rueidis.go"].map(|file| sources.join(file));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let folder = install("go", &files, |folder| {
        fs::create_dir(folder)?;
        // The Go that is here and not one that it would fetch.
        let mut build = Command::new(&go);
        build.args(["build", "-mod=readonly", "-o"]).arg(folder.join("clients")).arg(".");
        run(build.current_dir(&sources).env("GOTOOLCHAIN", "local").env("GOWORK", "off"))
    })?;
    Ok(Some(folder.join("clients")))
}

/// A folder named by the contents of `files`, made by `fill` unless it is there whole. Several test runs may ask at once.
fn install(name: &str, files: &[&Path], fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    for file in files {
        fs::read(file)?.hash(&mut hasher);
    }
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cache")));
    let cache = cache.ok_or_else(|| io::Error::other("there is no home folder"))?.join("dragnet/clients");
    fs::create_dir_all(&cache)?;
    let folder = cache.join(format!("{name}-{:016x}", hasher.finish()));
    let lock = File::create(folder.with_extension("lock"))?;
    lock.lock()?; // until it is closed
    let complete = folder.join(".complete");
    if !complete.exists() {
        if folder.exists() {
            fs::remove_dir_all(&folder)?; // an installation that was interrupted
        }
        fill(&folder)?;
        File::create(complete)?;
    }
    Ok(folder)
}
