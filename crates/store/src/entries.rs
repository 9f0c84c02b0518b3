//! Objects as files of somebody else's: listed with what names their content, and read only while it is still that.

use futures::{StreamExt as _, stream::BoxStream};
use object_store::{GetOptions, ObjectMeta, ObjectStore as _};

use crate::{Error, Store, store::parse_key};

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub bytes: u64,
    /// Equal tags of one key mean equal content.
    pub etag: String,
}

/// What a conditional read came to.
pub enum Read {
    /// The content, in pieces; an error ends it.
    Content(BoxStream<'static, Result<bytes::Bytes, Error>>),
    /// There is nothing of that key, or something else by now.
    Gone,
    /// It is there, and may not be read.
    Forbidden,
}

impl Store {
    /// Everything below the URL, as it comes. Cost: one request for each thousand objects.
    pub fn entries(&self) -> BoxStream<'static, Result<Entry, Error>> {
        let failed = |source| Error::List { prefix: String::new(), source: Box::new(source) };
        self.inner.objects.list(None).map(move |listed| listed.map(|object| entry(&object)).map_err(failed)).boxed()
    }

    /// Reads an object if it is still the one that was listed.
    pub async fn read_if_same(&self, key: &str, etag: &str) -> Result<Read, Error> {
        let failed = |source| Error::Get { key: key.to_owned(), source: Box::new(source) };
        let path = parse_key(key).map_err(failed)?;
        // A tag of ours is for stores that have none; they cannot be asked for it.
        let if_match = (!etag.starts_with(OWN_TAG)).then(|| etag.to_owned());
        let options = GetOptions { if_match, ..GetOptions::default() };
        use object_store::Error as Failure;
        match self.inner.objects.get_opts(&path, options).await {
            Ok(found) if entry(&found.meta).etag == etag => {
                let key = key.to_owned();
                let pieces = found.into_stream().map(move |piece| {
                    piece.map_err(|source| Error::Get { key: key.clone(), source: Box::new(source) })
                });
                Ok(Read::Content(pieces.boxed()))
            }
            Ok(_) | Err(Failure::NotFound { .. } | Failure::Precondition { .. }) => Ok(Read::Gone),
            Err(Failure::PermissionDenied { .. } | Failure::Unauthenticated { .. }) => Ok(Read::Forbidden),
            Err(source) => Err(failed(source)),
        }
    }
}

const OWN_TAG: &str = "modified ";

fn entry(object: &ObjectMeta) -> Entry {
    let own = || format!("{OWN_TAG}{} {}", object.last_modified.timestamp_micros(), object.size);
    Entry { key: object.location.to_string(), bytes: object.size, etag: object.e_tag.clone().unwrap_or_else(own) }
}
