use serde::{Deserialize, Serialize};

/// What a listing met and did not store, by reason. Counts entries of the latest complete listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Skipped {
    /// FIFOs, sockets and devices: opening one could block or have effects. And folders of Dragnet's own state.
    pub special: u64,
    /// Symbolic links; their targets are listed where they really are, so a loop cannot happen.
    pub symlinks: u64,
    /// Directories and entries that could not be read.
    pub unreadable: u64,
    /// Entries that vanished while the listing ran.
    pub vanished: u64,
}

impl Skipped {
    pub fn total(&self) -> u64 {
        let Self { special, symlinks, unreadable, vanished } = *self;
        special.saturating_add(symlinks).saturating_add(unreadable).saturating_add(vanished)
    }
}
