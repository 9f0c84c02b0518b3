use std::{collections::BTreeMap, fs::File, sync::Arc};

use corpus::{Hashes, Manifest};
use types::FileOrdinal;

use crate::{
    origin::{NotOpened, Origin},
    wire::{HashWish, Known},
};

/// The files of one segment, where they are now.
#[derive(Debug)]
pub struct SegmentFiles {
    pub source: Origin,
    pub manifest: Arc<Manifest>,
    /// Of an earlier scan. None: this scan has to learn them.
    pub hashes: Option<Hashes>,
    pub max_file_bytes: u64,
    /// What rules may ask about files; those that are not here are unknown.
    pub known: BTreeMap<FileOrdinal, engine::Known>,
}

impl SegmentFiles {
    pub fn new(source: Origin, manifest: Arc<Manifest>, hashes: Option<Hashes>, max_file_bytes: u64) -> Self {
        Self { source, manifest, hashes, max_file_bytes, known: BTreeMap::new() }
    }

    /// The same files, each to be hashed.
    pub fn without_hashes(&self) -> Self {
        Self::new(self.source.clone(), Arc::clone(&self.manifest), None, self.max_file_bytes)
    }

    pub(super) fn known(&self, file: FileOrdinal) -> Option<Known> {
        self.known.get(&file).map(Known::from)
    }

    /// Opens files of one batch.
    pub(super) fn opener<'s>(
        &'s self,
        batch: &[FileOrdinal],
    ) -> impl FnMut(FileOrdinal) -> Result<File, NotOpened> + use<'s> {
        let entry = |file: FileOrdinal| &self.manifest.files[file.0 as usize];
        let mut open = self.source.opener(batch.iter().copied().map(entry).collect(), self.max_file_bytes);
        move |file| open(entry(file))
    }

    /// Whether the bytes that were scanned are those that were listed.
    pub(super) fn still_same(&self, file: FileOrdinal, open: &File) -> bool {
        self.source.still_same(&self.manifest.files[file.0 as usize], open)
    }

    pub(super) fn size(&self, file: FileOrdinal) -> u64 {
        self.manifest.files[file.0 as usize].size
    }

    pub(super) fn path(&self, file: FileOrdinal) -> Vec<u8> {
        self.source.path_of(&self.manifest.files[file.0 as usize])
    }

    pub(super) fn hash_wish(&self, file: FileOrdinal) -> HashWish {
        match &self.hashes {
            None => HashWish::Always,
            Some(hashes) if hashes.get(file).is_none() => HashWish::IfMatched,
            Some(_) => HashWish::Never,
        }
    }
}
