use std::{env, io, ops::Range, path::PathBuf, sync::Arc};

use bytes::Bytes;
use object_store::{
    ObjectStore, ObjectStoreExt as _, ObjectStoreScheme, PutPayload,
    local::LocalFileSystem,
    path::{self, Path},
    prefix::PrefixStore,
};
use url::Url;

use crate::{
    Error,
    durable::{self, DurableFolders},
};

/// One place that holds objects. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    url: String,
    pub(crate) objects: Box<dyn ObjectStore>,
    /// Set for `file://` only.
    pub(crate) folders: Option<Arc<DurableFolders>>,
}

impl Store {
    /// Opens `file:///absolute/path` (created if missing) or, if the build has the feature, a bucket.
    ///
    /// Errors: [`Error::Url`] for what this build cannot use, saying what to write instead;
    /// [`Error::Open`] if the folder cannot be created or the client not be built.
    /// Blocks on the local disk for a moment: call it while starting.
    pub fn open(url: &str) -> Result<Self, Error> {
        Self::open_with(url, env_pairs())
    }

    /// The same with a way into object storage of its own: the environment's variables that begin with `prefix`, such as
    /// `{prefix}AWS_ACCESS_KEY_ID`, and none of the others. If there are none, those that [`Store::open`] takes.
    pub fn open_apart(url: &str, prefix: &str) -> Result<Self, Error> {
        Self::open_with(url, of_prefix(env_pairs(), prefix))
    }

    fn open_with(url: &str, options: Vec<(String, String)>) -> Result<Self, Error> {
        let refused = |reason: String| Error::Url { url: url.to_owned(), reason };
        if url.starts_with('/') {
            return Err(refused(format!("write it as a URL, file://{url}")));
        }
        let parsed = Url::parse(url).map_err(|error| refused(error.to_string()))?;
        let inner = match parsed.scheme() {
            "file" => open_local(url, &parsed)?,
            _ => open_remote(url, &parsed, options)?,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The URL it was opened with.
    pub fn url(&self) -> &str {
        &self.inner.url
    }

    /// Writes a whole object. It is durable when this returns: on local disks the file and every folder
    /// above it are synced. Readers see the whole object or none, and a repeat replaces it with itself.
    ///
    /// Cost: locally one fsync of the file and one of its folder, on tokio's blocking pool.
    pub async fn put(&self, key: &str, bytes: Bytes) -> Result<(), Error> {
        let failed = |source| Error::Put { key: key.to_owned(), source: Box::new(source) };
        let path = parse_key(key).map_err(failed)?;
        self.inner.objects.put(&path, PutPayload::from_bytes(bytes)).await.map_err(failed)?;
        self.sync_above(&path).await
    }

    /// Where an object of a local store lies, or would lie, so that it can be read in place. `None` for remote ones.
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        let folders = self.inner.folders.as_ref()?;
        // A key that no object can have leads nowhere.
        let path = parse_key(key).ok()?;
        Some(folders.root().join(path.as_ref()))
    }

    /// Makes the folders above a local object durable. The second half of every write.
    pub(crate) async fn sync_above(&self, path: &Path) -> Result<(), Error> {
        let Some(folders) = self.inner.folders.clone() else { return Ok(()) };
        let key = path.to_string();
        let synced = tokio::task::spawn_blocking(move || folders.sync_above(&key)).await;
        let failed = |source| Error::Put { key: path.to_string(), source: Box::new(local_error(source)) };
        synced.map_err(io::Error::other).flatten().map_err(failed)
    }

    /// Reads the bytes from `range.start` to before `range.end` of an object. An object that ends earlier gives fewer.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let path = parse_key(key).map_err(|source| Error::Get { key: key.to_owned(), source: Box::new(source) })?;
        match self.inner.objects.get_range(&path, range).await {
            Ok(bytes) => Ok(bytes),
            Err(object_store::Error::NotFound { .. }) => Err(Error::NotFound { key: key.to_owned() }),
            Err(source) => Err(Error::Get { key: key.to_owned(), source: Box::new(source) }),
        }
    }

    /// The size of an object in bytes, `None` if there is none of that key.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, Error> {
        let failed = |source| Error::Get { key: key.to_owned(), source: Box::new(source) };
        let path = parse_key(key).map_err(failed)?;
        match self.inner.objects.head(&path).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }

    /// Reads a whole object. Errors: [`Error::NotFound`] if there is none of that key.
    pub async fn get(&self, key: &str) -> Result<Bytes, Error> {
        self.get_optional(key).await?.ok_or_else(|| Error::NotFound { key: key.to_owned() })
    }

    /// Like [`Store::get`], for objects that need not be there.
    pub async fn get_optional(&self, key: &str) -> Result<Option<Bytes>, Error> {
        let failed = |source| Error::Get { key: key.to_owned(), source: Box::new(source) };
        let path = parse_key(key).map_err(failed)?;
        match self.inner.objects.get(&path).await {
            Ok(found) => found.bytes().await.map(Some).map_err(failed),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(failed(source)),
        }
    }
}

pub(crate) fn parse_key(key: &str) -> Result<Path, object_store::Error> {
    if key.is_empty() {
        return Err(path::Error::EmptySegment { path: String::new() }.into()); // it would name the root
    }
    Ok(Path::parse(key)?)
}

pub(crate) fn local_error(source: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(source) }
}

fn open_local(url: &str, parsed: &Url) -> Result<Inner, Error> {
    let refused = |reason: &str| Error::Url { url: url.to_owned(), reason: reason.to_owned() };
    // The URL parser would read `file:data` as `/data`: a guess that must not decide where data goes.
    if !url.to_ascii_lowercase().starts_with("file://") || parsed.host().is_some() {
        return Err(refused("the path must be absolute, with three slashes: file:///var/lib/dragnet"));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(refused("write '?' as %3F and '#' as %23"));
    }
    let root = parsed.to_file_path().map_err(|()| refused("it names no local path"))?;
    let failed = |source| Error::Open { url: url.to_owned(), source: Box::new(source) };
    durable::create_root(&root).map_err(|source| failed(local_error(source)))?;
    let objects = LocalFileSystem::new_with_prefix(&root).map_err(failed)?.with_fsync(true);
    let folders = Some(Arc::new(DurableFolders::new(root)));
    Ok(Inner { url: url.to_owned(), objects: Box::new(objects), folders })
}

fn env_pairs() -> Vec<(String, String)> {
    env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

fn of_prefix(all: Vec<(String, String)>, prefix: &str) -> Vec<(String, String)> {
    let own = all.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone())));
    let own: Vec<_> = own.collect();
    if own.is_empty() { all } else { own }
}

fn open_remote(url: &str, parsed: &Url, options: Vec<(String, String)>) -> Result<Inner, Error> {
    let scheme = parsed.scheme();
    let no_support = || Error::Url { url: url.to_owned(), reason: format!("this build has no {scheme} support") };
    let is_bucket = ObjectStoreScheme::parse(parsed).is_ok_and(|(scheme, _)| {
        use ObjectStoreScheme::{AmazonS3, GoogleCloudStorage, MicrosoftAzure};
        // `memory:` would lose everything with the process, and plain HTTP has no atomic writes.
        matches!(scheme, AmazonS3 | GoogleCloudStorage | MicrosoftAzure)
    });
    if !is_bucket {
        return Err(no_support());
    }
    // The builders pick the options they know (AWS_ENDPOINT, GOOGLE_SERVICE_ACCOUNT, ...) and leave the rest.
    match object_store::parse_url_opts(parsed, options) {
        Ok((objects, prefix)) => {
            Ok(Inner { url: url.to_owned(), objects: Box::new(PrefixStore::new(objects, prefix)), folders: None })
        }
        // This is how `object_store` reports a scheme whose feature is off.
        Err(object_store::Error::Generic { store: "parse_url", .. }) => Err(no_support()),
        Err(source) => Err(Error::Open { url: url.to_owned(), source: Box::new(source) }),
    }
}
