//! The dataset in object storage, which may not be there yet when the server starts: a folder that is mounted later, mostly.

use std::sync::Arc;

use dataset::Repository;
use tokio::sync::OnceCell;

use super::error::Error;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Storage(Arc<Inner>);

struct Inner {
    url: String,
    opened: OnceCell<Repository>,
}

impl Storage {
    /// Errors: a URL that can never be opened. One that cannot be opened now is tried again when it is needed.
    pub(crate) fn new(url: &str) -> Result<Self, Error> {
        let opened = match Repository::open(url) {
            Ok(repository) => OnceCell::new_with(Some(repository)),
            Err(source @ store::Error::Url { .. }) => return Err(failed(url)(source)),
            Err(_) => OnceCell::new(),
        };
        Ok(Self(Arc::new(Inner { url: url.to_owned(), opened })))
    }

    pub(crate) async fn repository(&self) -> Result<Repository, Error> {
        let Inner { url, opened } = &*self.0;
        let open = || async {
            let again = url.clone();
            let opening = tokio::task::spawn_blocking(move || Repository::open(&again)).await;
            opening.map_err(|panic| Error::Panicked { what: panic.to_string() })?.map_err(failed(url))
        };
        opened.get_or_try_init(open).await.cloned()
    }
}

fn failed(url: &str) -> impl FnOnce(store::Error) -> Error {
    move |source| Error::Repository { url: url.to_owned(), source }
}
