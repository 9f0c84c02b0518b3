use std::sync::Arc;

use serde::{Deserialize, Serialize};
use types::{FileKind, RulesetSource};

use crate::required::Literals;

/// One value for each kind of file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
pub struct ByKind<T> {
    pub other: T,
    pub elf: T,
    pub pe: T,
}

impl<T> ByKind<T> {
    pub fn from_fn(mut value: impl FnMut(FileKind) -> T) -> Self {
        Self { other: value(FileKind::Other), elf: value(FileKind::Elf), pe: value(FileKind::Pe) }
    }

    pub fn get(&self, kind: FileKind) -> &T {
        match kind {
            FileKind::Other => &self.other,
            FileKind::Elf => &self.elf,
            FileKind::Pe => &self.pe,
        }
    }
}

impl<T: PartialEq> ByKind<T> {
    /// The values that differ, and per kind the place of its own among them.
    pub fn distinct(self) -> (Vec<T>, ByKind<usize>) {
        let mut values = Vec::new();
        let Self { other, elf, pe } = self;
        let mut place = |value| {
            values.iter().position(|known| *known == value).unwrap_or_else(|| {
                values.push(value);
                values.len() - 1
            })
        };
        let of = ByKind { other: place(other), elf: place(elf), pe: place(pe) };
        (values, of)
    }
}

/// What to compile for each kind of file: every unit that could match such a file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct KindSources {
    /// Different from each other; ordered by namespace each. With literals: a file without any of them has nothing to
    /// report.
    lists: Vec<(Arc<[RulesetSource]>, Option<Literals>)>,
    /// Index into `lists`.
    of: ByKind<usize>,
}

impl KindSources {
    /// Per kind the sources, and of which literals a file must hold one for anything in them to be found.
    pub fn new(sources: ByKind<(Vec<RulesetSource>, Option<Literals>)>) -> Self {
        let (lists, of) = sources.distinct();
        Self { lists: lists.into_iter().map(|(list, literals)| (Arc::from(list), literals)).collect(), of }
    }

    pub fn get(&self, kind: FileKind) -> &[RulesetSource] {
        self.lists.get(self.list_of(kind)).map_or(&[], |(list, _)| &list[..])
    }

    /// None: files of that kind must be scanned whatever they hold.
    pub fn literals(&self, kind: FileKind) -> Option<&Literals> {
        self.lists.get(self.list_of(kind))?.1.as_ref()
    }

    /// Equal for two kinds exactly when they have the same sources and literals.
    pub fn list_of(&self, kind: FileKind) -> usize {
        *self.of.get(kind)
    }

    /// Nothing is to be compiled for any kind.
    pub fn is_empty(&self) -> bool {
        self.lists.iter().all(|(list, _)| list.is_empty())
    }

    /// Bytes of text, each list once.
    pub fn bytes(&self) -> usize {
        self.lists.iter().map(|(list, _)| bytes(list)).sum()
    }

    /// Bytes of text for one kind.
    pub fn bytes_for(&self, kind: FileKind) -> usize {
        bytes(self.get(kind))
    }
}

fn bytes(list: &[RulesetSource]) -> usize {
    list.iter().map(|source| source.text.len()).sum()
}

/// Which programs several sets of sources compile to together: per program the kind whose sources it is made
/// of, and per kind the place of its program.
pub fn programs_of<'s>(parts: impl Iterator<Item = &'s KindSources> + Clone) -> (Vec<FileKind>, ByKind<usize>) {
    let lists = |kind| parts.clone().map(|part| part.list_of(kind)).collect::<Vec<_>>();
    let (distinct, of) = ByKind::from_fn(lists).distinct();
    let first = |place| FileKind::ALL.into_iter().find(|kind| *of.get(*kind) == place);
    ((0..distinct.len()).filter_map(first).collect(), of)
}

/// Of which literals a file of a kind must hold one for any of several sets of sources to find something in it.
/// None: it must be scanned in any case.
pub fn literals_of<'s>(parts: impl Iterator<Item = &'s KindSources>, kind: FileKind) -> Option<Literals> {
    let needed: Option<Vec<_>> =
        parts.filter(|part| !part.get(kind).is_empty()).map(|part| part.literals(kind)).collect();
    Literals::merge(needed?.into_iter())
}
