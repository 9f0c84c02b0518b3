//! The external variables every rule may use.
//!
//! They are a fixed list, because a unit's digest must cover all that its answer depends on: values a user
//! could define would belong into it.

use std::{ffi::CString, path::Path};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExternalKind {
    Text,
    Integer,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct External {
    pub name: &'static str,
    pub kind: ExternalKind,
    pub meaning: &'static str,
}

pub const EXTERNALS: [External; 4] = [
    External { name: "filename", kind: ExternalKind::Text, meaning: "last part of the file's path" },
    External { name: "filepath", kind: ExternalKind::Text, meaning: "the file's absolute path" },
    External {
        name: "extension",
        kind: ExternalKind::Text,
        meaning: "extension with its dot, in lower case, or empty",
    },
    External { name: "file_size", kind: ExternalKind::Integer, meaning: "size in bytes, as filesize" },
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
        }
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
