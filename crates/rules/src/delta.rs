//! What a new version of a ruleset adds to an old one: the texts to compile, and whose findings count.

use std::collections::{BTreeMap, BTreeSet};

use types::{Digest, RulesetArtifact, RulesetSource, UnitSource};

use crate::{
    kinds::{ByKind, KindSources},
    required::{self, Literals},
    split::members,
    syntax::{self, Item},
};

/// More units would need more literals than can be looked for at once; so they are not even read for them.
const MAX_UNITS_WITH_LITERALS: usize = Literals::MAX;

/// Which unit owns a rule's findings, by namespace and rule name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Owners(BTreeMap<String, BTreeMap<String, Digest>>);

impl Owners {
    pub fn get(&self, namespace: &str, rule: &str) -> Option<Digest> {
        self.0.get(namespace)?.get(rule).copied()
    }

    /// Namespace, rule name and unit, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, Digest)> {
        self.0.iter().flat_map(|(namespace, rules)| {
            rules.iter().map(|(rule, digest)| (namespace.as_str(), rule.as_str(), *digest))
        })
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn insert(&mut self, namespace: &str, rule: &str, unit: Digest) {
        self.0.entry(namespace.to_owned()).or_default().insert(rule.to_owned(), unit);
    }
}

/// What to scan with, so that what an older version found need not be found again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// What to compile. Empty when nothing is new: then nothing is scanned either.
    pub sources: KindSources,
    /// Rules whose findings count. The sources hold others too, which these depend on: drop their hits.
    pub owners: Owners,
    /// Units of both versions, sorted: what was found for them still holds.
    pub carried: Vec<Digest>,
}

/// Rules of all units of a version. Private rules are among them, though they never report.
pub fn owner(artifact: &RulesetArtifact) -> Owners {
    owners(artifact, |_| true)
}

/// The program that leads from one version to another; from none, it is the whole version.
///
/// Findings of carried units and findings of this program are together what a scan with all of `to` finds.
/// Expects a validated artifact. Sets of rules (`any of (prefix*)`) are written out in the sources, because
/// libyara counts such a member twice when an earlier namespace has a rule of the same name.
///
/// Errors: none. Cost: parses again the few sources that have such sets, and the units of a small program.
pub fn program(to: &RulesetArtifact, from: Option<&RulesetArtifact>) -> Program {
    let old: BTreeSet<_> = from.iter().flat_map(|from| &from.units).map(|unit| unit.digest).collect();
    let new: Vec<_> = to.units.iter().filter(|unit| !old.contains(&unit.digest)).collect();
    let few = new.len() <= MAX_UNITS_WITH_LITERALS;
    let needed: Vec<_> = new.iter().map(|unit| if few { literals(to, unit) } else { None }).collect();
    let sources = ByKind::from_fn(|kind| {
        let admitted = new.iter().zip(&needed).filter(|(unit, _)| unit.gate.admits(kind));
        let needed: Option<Vec<_>> = admitted.clone().map(|(_, needed)| needed.as_ref()).collect();
        let needed = needed.and_then(|needed| Literals::merge(needed.into_iter()));
        (sources(to, admitted.map(|(unit, _)| unit)), needed)
    });
    Program {
        sources: KindSources::new(sources),
        owners: owners(to, |digest| !old.contains(&digest)),
        carried: to.units.iter().map(|unit| unit.digest).filter(|digest| old.contains(digest)).collect(),
    }
}

/// The texts that the given units compile from, by namespace.
fn sources<'u>(to: &RulesetArtifact, units: impl Iterator<Item = &'u &'u UnitSource>) -> Vec<RulesetSource> {
    let mut texts: BTreeMap<u32, Wanted> = BTreeMap::new();
    for unit in units {
        let wanted = texts.entry(unit.source).or_default();
        wanted.whole |= unit.ranges.is_empty();
        wanted.ranges.extend(&unit.ranges);
    }
    let source = |(index, wanted): (&u32, &Wanted)| {
        let RulesetSource { namespace, text } = &to.sources[*index as usize];
        if wanted.whole { expanded(namespace, text) } else { expanded(namespace, &wanted.cut(text)) }
    };
    texts.iter().map(source).collect()
}

/// Without one of these in a file, the unit has nothing to report there.
fn literals(to: &RulesetArtifact, unit: &UnitSource) -> Option<Literals> {
    let RulesetSource { namespace: _, text } = &to.sources[unit.source as usize];
    match &unit.rules[..] {
        _ if unit.ranges.is_empty() => required::of_source(text),
        [name] => {
            let wanted = Wanted { whole: false, ranges: unit.ranges.iter().copied().collect() };
            required::of_rule(&wanted.cut(text), name)
        }
        _ => None,
    }
}

fn owners(artifact: &RulesetArtifact, wanted: impl Fn(Digest) -> bool) -> Owners {
    let mut owners = Owners::default();
    for unit in artifact.units.iter().filter(|unit| wanted(unit.digest)) {
        let namespace = &artifact.sources[unit.source as usize].namespace;
        for rule in &unit.rules {
            owners.insert(namespace, rule, unit.digest);
        }
    }
    owners
}

/// What of one source is to be compiled.
#[derive(Default)]
struct Wanted {
    whole: bool,
    /// Byte ranges of several units; they overlap where units share what they need.
    ranges: BTreeSet<(u32, u32)>,
}

impl Wanted {
    fn cut(&self, text: &str) -> String {
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for &(start, end) in &self.ranges {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        let pieces: Vec<_> = merged.iter().map(|(start, end)| &text[*start as usize..*end as usize]).collect();
        pieces.join("\n")
    }
}

/// The source with each `prefix*` over rules replaced by the rules it stands for.
fn expanded(namespace: &str, text: &str) -> RulesetSource {
    let text = if text.contains('*') { written_out(text) } else { None }.unwrap_or_else(|| text.to_owned());
    RulesetSource { namespace: namespace.to_owned(), text }
}

fn written_out(text: &str) -> Option<String> {
    if !syntax::has_rule_wildcards(text) {
        return None;
    }
    let mut earlier = BTreeMap::new();
    let mut result = String::with_capacity(text.len());
    let mut done = 0;
    for item in &syntax::parse(text)? {
        let Item::Rule(rule) = item else { continue };
        // libyara knows a rule's own name from its head on, so a set may hold the rule itself; it is false there.
        earlier.insert(rule.name, 0);
        for wildcard in &rule.wildcards {
            let names: Vec<_> = members(wildcard.prefix, &earlier).map(|(name, _)| name).collect();
            result.push_str(&text[done..wildcard.range.start]);
            result.push_str(&names.join(", "));
            done = wildcard.range.end;
        }
        // A set that stands for nothing does not compile: leave it to libyara to say so.
        if rule.wildcards.iter().any(|wildcard| members(wildcard.prefix, &earlier).next().is_none()) {
            return None;
        }
    }
    result.push_str(&text[done..]);
    Some(result)
}
