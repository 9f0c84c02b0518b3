//! Which folders of this machine are scanned: real programs and libraries, enough of them to be worth it.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Enough is both of these ...
const ENOUGH_BYTES: u64 = 3 << 29;
const ENOUGH_FILES: u64 = 5_000;
/// ... and with this much the demo would take too long.
const MOST_BYTES: u64 = 3 << 30;
/// A part of a large folder is a corpus of its own only from here on.
const WORTH_BYTES: u64 = 32 << 20;

/// A folder with what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Measures folders of this machine and chooses among them. Blocks: it lists them whole.
pub(super) fn choose() -> Vec<Place> {
    let mut places = Chosen::default();
    for path in ["/usr/bin", "/usr/sbin", "/usr/libexec"] {
        places.offer(measure(Path::new(path)));
    }
    let libraries = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"];
    for path in libraries.into_iter().chain(["/usr/share"]) {
        if !places.enough() {
            places.offer(measure(Path::new(path)));
        }
    }
    // Machines differ in where the rest is: take the largest parts that still fit.
    let mut parts: Vec<Place> = ["/usr/lib", "/opt", "/usr/local", "/usr"]
        .iter()
        .flat_map(|of| subfolders(Path::new(of)))
        .map(|path| measure(&path))
        .collect();
    parts.retain(|place| place.bytes >= WORTH_BYTES);
    parts.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    for place in parts {
        if places.enough() {
            break;
        }
        places.offer(place);
    }
    places.chosen
}

#[derive(Debug, Default)]
struct Chosen {
    chosen: Vec<Place>,
}

impl Chosen {
    fn enough(&self) -> bool {
        self.bytes() >= ENOUGH_BYTES && self.chosen.iter().map(|place| place.files).sum::<u64>() >= ENOUGH_FILES
    }

    fn bytes(&self) -> u64 {
        self.chosen.iter().map(|place| place.bytes).sum()
    }

    /// Takes a place if it holds something new and does not make it too much.
    fn offer(&mut self, place: Place) {
        let overlaps = |other: &Place| other.path.starts_with(&place.path) || place.path.starts_with(&other.path);
        if place.files > 0 && self.bytes() + place.bytes <= MOST_BYTES && !self.chosen.iter().any(overlaps) {
            self.chosen.push(place);
        }
    }
}

/// A corpus name for a folder: `/usr/lib/x86_64-linux-gnu` is `usr-lib-x86-64-linux-gnu`.
pub(super) fn name(path: &Path) -> String {
    let text: String = path
        .to_string_lossy()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
        .take(types::Name::MAX_LEN)
        .collect();
    text.trim_matches('-').to_owned()
}

fn subfolders(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Files and bytes below a folder, on its own file system, symbolic links left out, what cannot be read too.
fn measure(path: &Path) -> Place {
    let mut place = Place { path: path.to_owned(), files: 0, bytes: 0 };
    // `/bin` and `/usr/bin` are one on most systems, and `/usr/lib64` is a link on some.
    let Ok(metadata) = fs::symlink_metadata(path) else { return place };
    let device = metadata.dev();
    let mut seen = BTreeSet::new();
    let mut folders = if metadata.is_dir() { vec![path.to_owned()] } else { Vec::new() };
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() && metadata.dev() == device && seen.insert(metadata.ino()) {
                folders.push(entry.path());
            } else if metadata.is_file() {
                place.files += 1;
                place.bytes += metadata.len();
            }
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(path: &str, files: u64, bytes: u64) -> Place {
        Place { path: path.into(), files, bytes }
    }

    #[test]
    fn too_much_and_twice_the_same_are_left_out() {
        let mut chosen = Chosen::default();
        chosen.offer(place("/usr/bin", 1_000, 1 << 30));
        chosen.offer(place("/usr/bin/sub", 10, 10));
        chosen.offer(place("/usr", 10_000, 1 << 30));
        chosen.offer(place("/usr/lib", 90_000, 4 << 30));
        chosen.offer(place("/empty", 0, 0));
        assert!(!chosen.enough());
        chosen.offer(place("/usr/share", 9_000, 1 << 30));
        assert!(chosen.enough());
        assert_eq!(chosen.chosen.len(), 2);
    }

    #[test]
    fn names_of_corpora_are_valid() {
        for (path, expected) in [("/usr/bin", "usr-bin"), ("/usr/lib/x86_64-linux-gnu", "usr-lib-x86-64-linux-gnu")] {
            assert_eq!(name(Path::new(path)), expected);
            assert!(types::Name::new(expected).is_ok());
        }
    }
}
