//! What there is, and making it go.

use std::io;

use futures::TryStreamExt as _;
use object_store::{ObjectStore as _, ObjectStoreExt as _, path::Path};

use crate::{
    Error, Store,
    store::{local_error, parse_key},
};

/// An object, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub key: String,
    pub bytes: u64,
}

impl Store {
    /// The names right below `folder`, of what has something below itself again. Sorted.
    pub async fn list_folders(&self, folder: &str) -> Result<Vec<String>, Error> {
        let failed = |source| Error::List { prefix: folder.to_owned(), source: Box::new(source) };
        let path = parse_key(folder).map_err(failed)?;
        let listed = self.inner.objects.list_with_delimiter(Some(&path)).await.map_err(failed)?;
        let names = listed.common_prefixes.iter().filter_map(|path| path.filename());
        let mut names: Vec<_> = names.map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// All objects below `folder`, sorted by key.
    pub async fn list(&self, folder: &str) -> Result<Vec<Listed>, Error> {
        let failed = |source| Error::List { prefix: folder.to_owned(), source: Box::new(source) };
        let path = parse_key(folder).map_err(failed)?;
        let objects = self.inner.objects.list(Some(&path));
        let listed = objects.map_ok(|object| Listed { key: object.location.to_string(), bytes: object.size });
        let mut listed: Vec<_> = listed.try_collect().await.map_err(failed)?;
        listed.sort_unstable();
        Ok(listed)
    }

    /// The objects right below the URL itself, not those in folders. Sorted by key.
    pub async fn list_root(&self) -> Result<Vec<Listed>, Error> {
        let failed = |source| Error::List { prefix: String::new(), source: Box::new(source) };
        let listed = self.inner.objects.list_with_delimiter(None).await.map_err(failed)?;
        let objects = listed.objects.into_iter();
        let mut listed: Vec<_> =
            objects.map(|object| Listed { key: object.location.to_string(), bytes: object.size }).collect();
        listed.sort_unstable();
        Ok(listed)
    }

    /// Removes one object. Success also when there is none of that key.
    pub async fn remove(&self, key: &str) -> Result<(), Error> {
        let failed = |source| Error::Remove { key: key.to_owned(), source: Box::new(source) };
        let path = parse_key(key).map_err(failed)?;
        match self.inner.objects.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(failed(source)),
        }
    }

    /// Removes all objects below `folder`, for writers that did not finish.
    pub async fn remove_folder(&self, folder: &str) -> Result<(), Error> {
        if let Some(local) = self.local_path(folder) {
            let removed = tokio::task::spawn_blocking(move || std::fs::remove_dir_all(local)).await;
            return match removed.map_err(io::Error::other).flatten() {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(Error::Remove { key: folder.to_owned(), source: Box::new(local_error(error)) })
                }
                _ => Ok(()),
            };
        }
        for object in self.list(folder).await? {
            match self.inner.objects.delete(&Path::from(object.key.as_str())).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(Error::Remove { key: object.key, source: Box::new(source) }),
            }
        }
        Ok(())
    }
}
