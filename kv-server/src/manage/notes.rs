//! What a manager knows and should still know after a restart: `announced.json`.

use serde::{Deserialize, Serialize};

use super::{
    disk::{self, Home, read_json, write_json},
    retry::Failures,
    status::Announcement,
};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Notes {
    /// The last one that was read: what is allowed, while storage does not answer.
    pub(crate) announcement: Option<Announcement>,
    pub(crate) failures: Failures,
}

const FILE: &str = "announced.json";

impl Notes {
    pub(crate) fn read(home: &Home) -> Self {
        let mut notes: Self = read_json(&home.folder().join(FILE));
        notes.failures.forget_storage();
        notes
    }

    pub(crate) fn save(&self, home: &Home) -> Result<(), disk::Error> {
        write_json(&home.folder().join(FILE), self)
    }
}
