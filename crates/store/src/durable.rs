//! What `LocalFileSystem`'s own fsync leaves open.
//!
//! With `with_fsync(true)` it syncs a new file, the folder it is in, and the folders it created itself.
//! A folder that another task or a crashed process created a moment ago is not synced by anyone who
//! merely finds it there, and with the folder the object in it would be lost. So the first object
//! that this process writes into a folder also syncs the folders above it, up to the root.

use std::{
    collections::HashSet,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Mutex,
};

#[derive(Debug)]
pub(crate) struct DurableFolders {
    root: PathBuf,
    /// Folders whose own entries, up to the root, are known to be on disk. A few thousand at most: 256
    /// per kind of object, and one for each ruleset version and corpus.
    synced: Mutex<HashSet<PathBuf>>,
}

impl DurableFolders {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, synced: Mutex::default() }
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes the folders above the object `key` durable. Blocks on the disk the first time.
    pub(crate) fn sync_above(&self, key: &str) -> io::Result<()> {
        let object = self.root.join(key);
        let Some(folder) = object.parent() else { return Ok(()) };
        if self.lock().contains(folder) {
            return Ok(());
        }
        for above in folder.ancestors().skip(1).take_while(|above| above.starts_with(&self.root)) {
            sync_folder(above)?;
        }
        self.lock().insert(folder.to_owned());
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        // A set of finished facts stays true even if a holder of the lock panicked.
        self.synced.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Creates `root` with the folders above it and makes their entries durable.
pub(crate) fn create_root(root: &Path) -> io::Result<()> {
    let missing: Vec<_> = root.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(root)?;
    for created in missing {
        if let Some(parent) = created.parent() {
            sync_folder(parent)?;
        }
    }
    Ok(())
}

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
