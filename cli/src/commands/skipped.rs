//! What a listing met and did not store.

use protocol::v1;
use serde::Serialize;

use crate::render::{count, plural};

/// As `--json` prints it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Skipped {
    pub special: u64,
    pub symlinks: u64,
    pub unreadable: u64,
    pub vanished: u64,
}

impl Skipped {
    pub fn of(skipped: Option<v1::Skipped>) -> Self {
        let v1::Skipped { special, symlinks, unreadable, vanished } = skipped.unwrap_or_default();
        Self { special, symlinks, unreadable, vanished }
    }

    pub fn sum(&self) -> u64 {
        self.special + self.symlinks + self.unreadable + self.vanished
    }

    /// `1 folder or file unreadable, 2 special files`: what there was, the worst first; empty when there was nothing.
    pub fn text(&self) -> String {
        let Self { special, symlinks, unreadable, vanished } = *self;
        let folders = if unreadable == 1 { "folder or file" } else { "folders or files" };
        let parts = [
            (unreadable, format!("{} {folders} unreadable", count(unreadable))),
            (special, plural(special, "special file")),
            (symlinks, plural(symlinks, "symbolic link")),
            (vanished, format!("{} vanished while they were listed", count(vanished))),
        ];
        let met: Vec<_> = parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, part)| part).collect();
        met.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_was_is_told() {
        let skipped = Skipped { special: 2, symlinks: 1, unreadable: 1, vanished: 0 };
        assert_eq!(skipped.text(), "1 folder or file unreadable, 2 special files, 1 symbolic link");
        assert_eq!((skipped.sum(), Skipped::default().text()), (4, String::new()));
    }
}
