//! How commands read values.

use resp::Reply;
use shard::{InMemory, Shard};

use super::{Flow, executor::Context};
use crate::catalog::{Found, Part, Serving, Version, get_now};

/// The first shard to fail is logged; the peer learns only that it was not its fault.
const READ_FAILED: &str = "ERR the dataset could not be read; the server's log says why";
pub(super) const LOADING: &str = "LOADING Redis is loading the dataset in memory";
const CLUSTER_DOWN: &str = "CLUSTERDOWN Hash slot not served";

/// What came of reading a key.
pub(super) enum Fetched<R> {
    Done(R),
    NeedsDisk,
    /// An error was replied.
    Refused,
}

impl<R> Fetched<R> {
    /// For commands that have nothing to add.
    pub(super) fn flow(&self) -> Flow {
        match self {
            Self::Done(_) | Self::Refused => Flow::Done,
            Self::NeedsDisk => Flow::NeedsDisk,
        }
    }
}

/// Keys that one shard has, as stored.
pub(super) struct Batch<'a> {
    pub(super) shard: &'a Shard,
    pub(super) keys: Vec<&'a [u8]>,
}

/// All of `keys` as one batch, if one shard has them all and this thread may read it without asking key by key.
pub(super) fn batch<'a>(
    serving: &'a Serving,
    db: usize,
    keys: impl ExactSizeIterator<Item = &'a [u8]>,
    may_wait: bool,
) -> Option<Batch<'a>> {
    let mut batch: Option<(&Version, &Part, Batch<'a>)> = None;
    let count = keys.len();
    for key in keys {
        let Found::Version { version, key: stored } = serving.find(db, key) else { return None };
        match &mut batch {
            Some((the_version, part, batch)) => {
                let same = std::ptr::eq(*the_version, version) && std::ptr::eq(*part, version.part_of(key));
                if !same {
                    return None;
                }
                batch.keys.push(stored);
            }
            None => {
                let part = version.part_of(key);
                let shard = part.shard().filter(|_| may_wait || part.is_in_memory())?;
                let mut keys = Vec::with_capacity(count);
                keys.push(stored);
                batch = Some((version, part, Batch { shard, keys }));
            }
        }
    }
    batch.map(|(.., batch)| batch)
}

impl Context<'_> {
    /// Hands the value of `key`, or `None`, to `read`, with where to reply.
    #[inline]
    pub(super) fn fetch<R>(&mut self, key: &[u8], read: impl FnOnce(Option<&[u8]>, &mut Reply<'_>) -> R) -> Fetched<R> {
        let serving = self.serving;
        let (version, stored) = match serving.find(self.session.db, key) {
            Found::Version { version, key } => (version, key),
            Found::Nowhere => return Fetched::Done(read(None, &mut self.reply())),
            Found::Loading => return self.refused(LOADING),
        };
        let part = version.part_of(key);
        let Some(shard) = part.shard() else { return self.refused(CLUSTER_DOWN) };
        let may_wait = self.may_wait;
        let mut reply = self.reply();
        let read = |value: Option<&[u8]>| read(value, &mut reply);
        let fetched = match may_wait {
            true => shard.get(stored, read).map(InMemory::Done),
            false => get_now(part, shard, stored, read),
        };
        match fetched {
            Ok(InMemory::Done(result)) => Fetched::Done(result),
            Ok(InMemory::MayNeedDisk) => Fetched::NeedsDisk,
            Err(error) => {
                self.read_failed(&error);
                Fetched::Refused
            }
        }
    }

    pub(super) fn read_failed(&mut self, error: &shard::Error) {
        self.stats.read_errors.add(1);
        self.shared.events.read_failed(error);
        self.error(READ_FAILED);
    }

    fn refused<R>(&mut self, text: &str) -> Fetched<R> {
        self.error(text);
        Fetched::Refused
    }
}
