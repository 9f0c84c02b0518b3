//! The external variables every rule may use.
//!
//! They are a fixed list, because a unit's digest must cover all that its answer depends on: values a user
//! could define would belong into it. Those that come from datasets ([`Known`]) are the exception: an answer that used them was
//! right for the version of the dataset that its finding names, and stays as it is when the dataset changes.

use std::{
    borrow::Cow,
    ffi::{CStr, CString},
    path::Path,
};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExternalKind {
    Text,
    Integer,
    Boolean,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct External {
    pub name: &'static str,
    pub kind: ExternalKind,
    pub meaning: &'static str,
    /// What it holds comes from the datasets of the corpus.
    pub from_datasets: bool,
}

const fn external(name: &'static str, kind: ExternalKind, meaning: &'static str) -> External {
    External { name, kind, meaning, from_datasets: false }
}

const fn known(name: &'static str, kind: ExternalKind, meaning: &'static str) -> External {
    External { name, kind, meaning, from_datasets: true }
}

pub const EXTERNALS: [External; 8] = [
    external("filename", ExternalKind::Text, "last part of the file's path"),
    external("filepath", ExternalKind::Text, "the file's absolute path"),
    external("extension", ExternalKind::Text, "extension with its dot, in lower case, or empty"),
    external("file_size", ExternalKind::Integer, "size in bytes, as filesize"),
    known("known_good", ExternalKind::Boolean, "a dataset of the corpus says so of this content; else false"),
    known("package", ExternalKind::Text, "the package that this content belongs to, or empty"),
    known("package_version", ExternalKind::Text, "that package's version, or empty"),
    known("prevalence", ExternalKind::Integer, "in how many places the content was seen, or 0"),
];

/// What the external variables are for one file.
///
/// Texts reach libyara as C strings of the raw bytes, whatever their encoding, and so they end at a NUL
/// byte, which no path holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileFacts {
    pub(crate) filename: CString,
    pub(crate) filepath: CString,
    pub(crate) extension: CString,
    pub(crate) file_size: i64,
    pub(crate) known: Known,
}

/// What datasets say about a file's content. The default is what an unknown file has, and one whose datasets cannot be asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Known {
    pub known_good: bool,
    package: CString,
    package_version: CString,
    pub prevalence: i64,
}

impl Known {
    /// Texts end at a NUL byte.
    pub fn new(known_good: bool, package: &str, package_version: &str, prevalence: i64) -> Self {
        let (package, package_version) = (c_string(package.as_bytes()), c_string(package_version.as_bytes()));
        Self { known_good, package, package_version, prevalence }
    }

    pub fn package(&self) -> Cow<'_, str> {
        self.package.to_string_lossy()
    }

    pub fn package_version(&self) -> Cow<'_, str> {
        self.package_version.to_string_lossy()
    }

    /// Package and version as libyara takes them.
    pub(crate) fn texts(&self) -> (&CStr, &CStr) {
        (&self.package, &self.package_version)
    }
}

impl FileFacts {
    /// Facts of a file by its path, `/`-separated; where files are scanned, the absolute one.
    ///
    /// `.bashrc` has no extension, that of `a.tar.GZ` is `.gz`; only ASCII letters are lowered.
    pub fn new(filepath: &[u8], file_size: u64) -> Self {
        let filename = filepath.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let extension = match filename.iter().rposition(|byte| *byte == b'.') {
            None | Some(0) => Vec::new(),
            Some(dot) => filename[dot..].to_ascii_lowercase(),
        };
        Self {
            filename: c_string(filename),
            filepath: c_string(filepath),
            extension: c_string(&extension),
            file_size: i64::try_from(file_size).unwrap_or(i64::MAX),
            known: Known::default(),
        }
    }

    /// The same with what datasets say.
    #[must_use]
    pub fn with(self, known: Known) -> Self {
        Self { known, ..self }
    }

    /// Facts of a file on this machine.
    pub fn of_path(path: &Path, file_size: u64) -> Self {
        Self::new(path.as_os_str().as_encoded_bytes(), file_size)
    }
}

fn c_string(bytes: &[u8]) -> CString {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    CString::new(&bytes[..end]).unwrap_or_default()
}
