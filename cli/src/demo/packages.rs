//! Which package each file of this machine belongs to, from dpkg's own records.
//!
//! dpkg notes the MD5 of each file that it installs. A file that still has it is as its package brought it, and its SHA-256, which is
//! what a hunt knows of a file, is then that package's. Both digests are taken in one reading.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, BufWriter, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result, anyhow};
use md5::{Digest as _, Md5};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

const DPKG: &str = "/var/lib/dpkg";
const READ_BYTES: usize = 256 << 10;

/// What is known of a content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Fact {
    /// Lower-case hexadecimal digits; the key.
    sha256: String,
    pub(super) package: String,
    pub(super) version: String,
    arch: String,
    known_good: bool,
    /// How many files of packages here have this content; the second version of the dataset says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    prevalence: Option<u64>,
}

/// The result of a reading of all packages.
#[derive(Debug, Default)]
pub(super) struct Packages {
    /// By content; of packages that bring the same, the first by name.
    facts: BTreeMap<[u8; 32], Fact>,
    pub(super) packages: usize,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Recorded, and not there, not readable, or changed since.
    pub(super) others: u64,
}

/// A file as dpkg recorded it.
#[derive(Debug, PartialEq, Eq)]
struct Recorded {
    path: PathBuf,
    md5: [u8; 16],
    package: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Package {
    name: String,
    version: String,
    arch: String,
}

/// Whether this machine has dpkg's records.
pub(super) fn is_dpkg_here() -> bool {
    Path::new(DPKG).join("status").is_file()
}

impl Packages {
    /// Reads the files of packages below some folders. Blocks, with all cores.
    pub(super) fn read(below: &[PathBuf]) -> Result<Self> {
        Self::read_from(Path::new(DPKG), Path::new("/"), below)
    }

    fn read_from(dpkg: &Path, root: &Path, below: &[PathBuf]) -> Result<Self> {
        let status = dpkg.join("status");
        let status = fs::read_to_string(&status).with_context(|| format!("failed to read {}", status.display()))?;
        let packages = installed(&status);
        let mut recorded = Vec::new();
        for (number, package) in packages.iter().enumerate() {
            recorded.extend(files_of(dpkg, root, number, package, below)?);
        }
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let read = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|_| scope.spawn(|| read_some(&recorded, &next))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| anyhow!("a reading thread panicked")))
                .collect::<Result<Vec<_>>>()
        })?;
        let mut found: Vec<_> = read.into_iter().flatten().collect();
        // Whatever the threads did: the same records give the same facts.
        found.sort_unstable_by_key(|(number, ..)| *number);
        let mut all = Self { others: (recorded.len() - found.len()) as u64, ..Self::default() };
        let mut seen = BTreeSet::new();
        for (number, sha256, bytes) in found {
            let index = recorded[number].package;
            let Package { name, version, arch } = &packages[index];
            seen.insert(index);
            (all.files, all.bytes) = (all.files + 1, all.bytes + bytes);
            let fact = all.facts.entry(sha256).or_insert_with(|| Fact {
                sha256: types::Digest::from_bytes(sha256).to_string(),
                package: name.clone(),
                version: version.clone(),
                arch: arch.clone(),
                known_good: true,
                prevalence: Some(0),
            });
            fact.prevalence = fact.prevalence.map(|files| files + 1);
        }
        all.packages = seen.len();
        Ok(all)
    }

    pub(super) fn contents(&self) -> usize {
        self.facts.len()
    }

    /// Writes one JSON object a line, by digest. `prevalence`: with how many files have each content.
    pub(super) fn write(&self, path: &Path, prevalence: bool) -> Result<()> {
        let failed = || format!("failed to write {}", path.display());
        let mut file = BufWriter::new(File::create(path).with_context(failed)?);
        for fact in self.facts.values() {
            let fact = Fact { prevalence: fact.prevalence.filter(|_| prevalence), ..fact.clone() };
            serde_json::to_writer(&mut file, &fact).with_context(failed)?;
            file.write_all(b"\n").with_context(failed)?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error).and_then(|file| file.sync_all()).with_context(failed)
    }
}

/// Packages that are installed, by their paragraphs in `status`.
fn installed(status: &str) -> Vec<Package> {
    let paragraph = |text: &str| {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        (field("Status")? == "install ok installed").then_some(())?;
        let owned = |name| field(name).map(str::to_owned);
        Some(Package { name: owned("Package")?, version: owned("Version")?, arch: owned("Architecture")? })
    };
    status.split("\n\n").filter_map(paragraph).collect()
}

/// What dpkg recorded for one package. Configuration files are none of it: people change them.
fn files_of(dpkg: &Path, root: &Path, number: usize, package: &Package, below: &[PathBuf]) -> Result<Vec<Recorded>> {
    let Package { name, arch, .. } = package;
    let info = dpkg.join("info");
    // Packages that can be installed for several architectures have it in the name.
    for file in [format!("{name}.md5sums"), format!("{name}:{arch}.md5sums")] {
        let path = info.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => {
                let files = text.lines().filter_map(|line| recorded(line, root, number));
                return Ok(files.filter(|file| is_below(&file.path, root, below)).collect());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }
    Ok(Vec::new()) // a package without files
}

/// `MD5  PATH`, the path without its first slash.
fn recorded(line: &str, root: &Path, package: usize) -> Option<Recorded> {
    let (digits, path) = line.split_once("  ")?;
    let mut md5 = [0; 16];
    for (byte, place) in md5.iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(digits.get(place..place + 2)?, 16).ok()?;
    }
    (digits.len() == 32).then(|| Recorded { path: root.join(path), md5, package })
}

/// `/bin/ls` is below `/usr/bin` where `/bin` is a link to it.
fn is_below(path: &Path, root: &Path, below: &[PathBuf]) -> bool {
    let Ok(relative) = path.strip_prefix(root) else { return false };
    let first = relative.iter().next().and_then(|name| name.to_str());
    let merged = matches!(first, Some("bin" | "sbin" | "lib" | "lib32" | "lib64" | "libx32"))
        .then(|| root.join("usr").join(relative));
    below.iter().any(|folder| path.starts_with(folder) || merged.as_ref().is_some_and(|path| path.starts_with(folder)))
}

/// Takes file after file until none is left. Returns those that are as recorded: which, its SHA-256, its size.
fn read_some(recorded: &[Recorded], next: &AtomicUsize) -> Vec<(usize, [u8; 32], u64)> {
    let mut found = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(file) = recorded.get(number) else { return found };
        // A file that cannot be read is not as recorded, as far as anybody can say.
        if let Ok((md5, sha256, bytes)) = digests(&file.path, &mut buffer)
            && md5 == file.md5
        {
            found.push((number, sha256, bytes));
        }
    }
}

fn digests(path: &Path, buffer: &mut [u8]) -> io::Result<([u8; 16], [u8; 32], u64)> {
    // Neither links, which a hunt does not follow either, nor a FIFO that would make us wait.
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let mut file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let (mut md5, mut sha256, mut bytes) = (Md5::new(), Sha256::new(), 0);
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok((md5.finalize().into(), sha256.finalize().into(), bytes)),
            Ok(read) => {
                md5.update(&buffer[..read]);
                sha256.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digest: &[u8]) -> String {
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A machine with two packages; the second is removed, all but its configuration.
    fn machine() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("usr/bin/same", "as installed");
        write("usr/share/copy", "as installed");
        write("usr/bin/changed", "by somebody");
        write("etc/elsewhere", "as installed");
        let md5 = hex(&Md5::digest("as installed"));
        let lines = ["usr/bin/same", "usr/bin/changed", "usr/bin/gone", "usr/share/copy", "etc/elsewhere"];
        let lines: String = lines.iter().map(|path| format!("{md5}  {path}\n")).collect();
        write("dpkg/info/tool:amd64.md5sums", &format!("{lines}nonsense\n"));
        write("dpkg/info/old.md5sums", &format!("{md5}  usr/bin/same\n"));
        write(
            "dpkg/status",
            "Package: old\nStatus: deinstall ok config-files\nVersion: 1\nArchitecture: all\n\n\
             Package: tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2:1.0-3\nDescription: x\n",
        );
        dir
    }

    #[test]
    fn files_as_their_package_installed_them_are_known() {
        let machine = machine();
        let root = machine.path();
        let packages = Packages::read_from(&root.join("dpkg"), root, &[root.join("usr")]).unwrap();
        assert_eq!((packages.packages, packages.files, packages.others, packages.contents()), (1, 2, 2, 1));
        let sha256 = hex(&Sha256::digest("as installed"));
        let fact = packages.facts.values().next().unwrap();
        assert_eq!(
            (fact.sha256.as_str(), fact.package.as_str(), fact.version.as_str()),
            (sha256.as_str(), "tool", "2:1.0-3")
        );
        let file = root.join("facts.jsonl");
        packages.write(&file, false).unwrap();
        let line = format!(
            "{{\"sha256\":\"{sha256}\",\"package\":\"tool\",\"version\":\"2:1.0-3\",\"arch\":\"amd64\",\"known_good\":true}}\n"
        );
        assert_eq!(fs::read_to_string(&file).unwrap(), line);
        packages.write(&file, true).unwrap();
        assert!(fs::read_to_string(&file).unwrap().contains("\"prevalence\":2"));
    }

    #[test]
    fn a_file_at_the_old_place_of_a_merged_folder_is_found() {
        let below = [PathBuf::from("/usr/bin")];
        assert!(is_below(Path::new("/bin/ls"), Path::new("/"), &below));
        assert!(is_below(Path::new("/usr/bin/ls"), Path::new("/"), &below));
        assert!(!is_below(Path::new("/usr/lib/x"), Path::new("/"), &below));
    }

    #[test]
    fn links_and_folders_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/bin/true", &link).unwrap();
        assert!(digests(&link, &mut [0; 16]).is_err());
        assert!(digests(dir.path(), &mut [0; 16]).is_err());
    }
}
