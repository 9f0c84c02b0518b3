//! Proves from a unit which bytes a file must hold for the unit to match it, so that files without them need no
//! scan at all: a search for a few literals is ten times as fast as libyara with a single rule.
//!
//! ```text
//! patterns ──pattern, regex──► what each must contain ──literal──► few rare bytes of it ─┐
//! condition ──condition──► which patterns it cannot do without ──────────────────────────┴──► Literals
//! ```
//!
//! What is not surely understood proves nothing, as in `gate`; then every file is scanned. A wrong proof would
//! hide findings, so only forms are recognized whose meaning in libyara was read in its source.

mod condition;
mod literal;
mod pattern;
mod regex;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    split::members,
    syntax::{self, Item},
};

use condition::Scope;
use literal::Needed;
use pattern::Pattern;

/// Byte strings of which a file must hold at least one, or no rule can match it.
///
/// At most [`Literals::MAX`] of at least [`Literals::MIN_BYTES`] bytes each; sorted, never empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Literals(Vec<Vec<u8>>);

impl Literals {
    /// As many as one search with vector instructions takes.
    pub const MAX: usize = 64;
    pub const MIN_BYTES: usize = 3;
    /// More bytes would not make them rarer, and pieces of a file have to overlap by that many.
    pub const MAX_BYTES: usize = 16;

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(Vec::as_slice)
    }

    /// What is needed for something to match of which these are needed for one half and those for the other.
    /// None: too many together.
    pub fn merge<'l>(all: impl Iterator<Item = &'l Self>) -> Option<Self> {
        let mut literals: Vec<_> = all.flat_map(|literals| literals.0.iter().cloned()).collect();
        literals.sort_unstable();
        literals.dedup();
        (1..=Self::MAX).contains(&literals.len()).then_some(Self(literals))
    }
}

/// What the unit of one rule needs. `text` is what the unit compiles from: imports, the rules it depends on, the
/// global rules of its source, itself.
pub(crate) fn of_rule(text: &str, name: &str) -> Option<Literals> {
    let rules = Rules::read(text)?;
    let own = rules.needed.get(*rules.earlier.get(name)?)?.clone();
    // It matches only where every global rule does.
    let globals = rules.globals.iter().map(|global| rules.needed[*global].clone());
    literals(Needed::best(globals.chain([own])))
}

/// What all rules of a source need together: one of its literals is there when any of them matches.
pub(crate) fn of_source(text: &str) -> Option<Literals> {
    let rules = Rules::read(text)?;
    literals(Needed::one_of(rules.needed))
}

fn literals(needed: Option<Needed>) -> Option<Literals> {
    let Needed { literals, cost: _ } = needed?;
    Literals::merge([Literals(literals.into_iter().collect())].iter())
}

/// The rules of a source, in order.
struct Rules<'a> {
    needed: Vec<Option<Needed>>,
    globals: Vec<usize>,
    /// Index by name.
    earlier: BTreeMap<&'a str, usize>,
}

impl<'a> Rules<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let mut rules = Self { needed: Vec::new(), globals: Vec::new(), earlier: BTreeMap::new() };
        for item in syntax::parse(text)? {
            let Item::Rule(rule) = item else { continue };
            let patterns = Pattern::read(&rule.patterns)?;
            let scope = Scope {
                patterns: &patterns,
                rule: &|name| rules.earlier.get(name).and_then(|index| rules.needed[*index].clone()),
                // The rule itself is a member too, and false there.
                rules: &|prefix| {
                    members(prefix, &rules.earlier).map(|(_, index)| rules.needed[index].clone()).collect()
                },
                looped: None,
                has_variables: false,
            };
            let needed = condition::of_condition(&rule.condition, scope);
            let index = rules.needed.len();
            rules.needed.push(needed);
            if rule.global {
                rules.globals.push(index);
            }
            if rules.earlier.insert(rule.name, index).is_some() {
                return None;
            }
        }
        Some(rules)
    }
}
