//! Splits sources into units: one rule with everything its answer depends on, named by digest.
//!
//! A rule's answer in libyara depends on its own text, on the earlier rules of its source that it names,
//! on the global rules of its source wherever they stand, and on the modules it names. The digest covers
//! exactly that, as tokens, so that comments and indentation do not count; the source's namespace too,
//! because findings are reported under it.
//!
//! What is not surely understood is not split: the whole source is one unit then. That costs a rescan of
//! its rules when anything in it changes, and never a wrong answer.

use std::collections::{BTreeMap, BTreeSet};

use types::{Digest, Gate, RulesetArtifact, RulesetSource, UnitSource};

use crate::{
    gate, lexical,
    syntax::{self, Item, Rule},
};

/// A digest of one thing is never that of another.
const RULE: &[u8] = b"dragnet rule 1";
const UNIT: &[u8] = b"dragnet unit 1";
const WHOLE_SOURCE: &[u8] = b"dragnet source 1";

/// Steps over dependencies per source; beyond it (a chain of thousands of rules, each naming the one
/// before) the source stays whole. 20 million take about a second.
const MAX_STEPS: usize = 20_000_000;

/// The artifact of a ruleset: its sources, ordered by namespace, and their units.
///
/// Sources that do not compile are split as well as possible; `engine::check` is what refuses them.
/// Cost: parses every source once, about 20 MB/s.
pub fn split(mut sources: Vec<RulesetSource>) -> RulesetArtifact {
    sources.sort_by(|a, b| a.namespace.cmp(&b.namespace));
    let mut units = Vec::new();
    for (source, index) in sources.iter().zip(0_u32..) {
        match Source::read(source).and_then(|parsed| parsed.units(index)) {
            Some(of_rules) => units.extend(of_rules),
            None => units.push(whole(source, index)),
        }
    }
    units.sort_by_key(|unit| unit.digest);
    units.dedup_by_key(|unit| unit.digest);
    RulesetArtifact { format: RulesetArtifact::FORMAT, sources, units }
}

fn whole(source: &RulesetSource, index: u32) -> UnitSource {
    let mut rules = lexical::rule_names(&source.text);
    if rules.is_empty() {
        rules.push("unnamed".to_owned());
    }
    let mut parts = vec![WHOLE_SOURCE, source.namespace.as_bytes()];
    // The lexer loses nothing but blanks and comments, whatever the text is.
    parts.extend(lexical::Lexer::new(&source.text).map(|lexeme| &source.text.as_bytes()[lexeme.range]));
    UnitSource { digest: Digest::of_parts(parts), source: index, rules, ranges: Vec::new(), gate: Gate::Any }
}

/// A source that can be split.
struct Source<'a> {
    namespace: &'a str,
    items: Vec<Item<'a>>,
    /// Per rule its index among the items, in order.
    rules: Vec<usize>,
    /// Per rule the earlier rules it names, by index among the rules.
    needs: Vec<BTreeSet<usize>>,
    /// Per rule which files its own condition can hold for.
    gates: Vec<Gate>,
    /// The first import of each module, by index among the items.
    modules: BTreeMap<&'a str, usize>,
}

impl<'a> Source<'a> {
    fn read(source: &'a RulesetSource) -> Option<Self> {
        let items = syntax::parse(&source.text)?;
        let mut rules = Vec::new();
        let mut needs = Vec::new();
        let mut gates: Vec<Gate> = Vec::new();
        let mut modules = BTreeMap::new();
        let mut earlier: BTreeMap<&str, usize> = BTreeMap::new();
        let mut steps = 0;
        for (at, item) in items.iter().enumerate() {
            match item {
                Item::Import { module, .. } => {
                    modules.entry(*module).or_insert(at);
                }
                Item::Rule(rule) => {
                    let named = needed(rule, &earlier, &mut steps)?;
                    let known = gate::Known {
                        imported: &|module| modules.contains_key(module),
                        rule: &|name| earlier.get(name).map_or(Gate::Any, |index| gates[*index]),
                        // The rule itself is a member too, and false there.
                        rules: &|prefix| members(prefix, &earlier).map(|(_, index)| gates[index]).collect(),
                    };
                    let gate = gate::of_condition(&rule.condition, &known);
                    if earlier.insert(rule.name, rules.len()).is_some() {
                        return None;
                    }
                    rules.push(at);
                    needs.push(named);
                    gates.push(gate);
                }
            }
        }
        Some(Self { namespace: &source.namespace, items, rules, needs, gates, modules })
    }

    fn rule(&self, index: usize) -> &Rule<'a> {
        match &self.items[self.rules[index]] {
            Item::Rule(rule) => rule,
            Item::Import { .. } => unreachable!("rules holds indexes of rules only"),
        }
    }

    fn units(&self, source: u32) -> Option<Vec<UnitSource>> {
        let digests = self.rule_digests();
        let globals: Vec<_> = (0..self.rules.len()).filter(|index| self.rule(*index).global).collect();
        let mut steps = 0;
        (0..self.rules.len())
            .map(|index| {
                let mut governing: Vec<_> =
                    globals.iter().filter(|global| **global != index).map(|global| digests[*global]).collect();
                governing.sort_unstable();
                let parts = [UNIT, digests[index].as_bytes()].into_iter();
                let digest = Digest::of_parts(parts.chain(governing.iter().map(|digest| &digest.as_bytes()[..])));
                let roots = globals.iter().copied().chain([index]);
                let ranges = self.ranges(&self.closure(roots, &mut steps)?)?;
                let rules = vec![self.rule(index).name.to_owned()];
                Some(UnitSource { digest, source, rules, ranges, gate: self.gate(index, &globals) })
            })
            .collect()
    }

    /// A rule does not match where its own condition, or one of the global rules, does not hold.
    fn gate(&self, index: usize, globals: &[usize]) -> Gate {
        globals.iter().map(|global| self.gates[*global]).fold(self.gates[index], Gate::and)
    }

    /// Per rule the digest of its tokens, of the rules it names, and of the modules it names. Global rules
    /// are not in it, as they may come later and govern each other; a unit's digest adds them.
    fn rule_digests(&self) -> Vec<Digest> {
        let mut digests: Vec<Digest> = Vec::with_capacity(self.rules.len());
        for index in 0..self.rules.len() {
            let rule = self.rule(index);
            let tokens = Digest::of_parts(rule.tokens.iter().map(|token| token.as_bytes()));
            let mut named: Vec<_> = self.needs[index].iter().map(|needed| digests[*needed]).collect();
            named.sort_unstable();
            let modules: Vec<_> = rule.mentions.iter().filter(|name| self.modules.contains_key(*name)).collect();
            let named_count = named.len().to_le_bytes();
            let mut parts = vec![RULE, self.namespace.as_bytes(), &tokens.as_bytes()[..], &named_count];
            parts.extend(named.iter().map(|digest| &digest.as_bytes()[..]));
            parts.extend(modules.iter().map(|module| module.as_bytes()));
            digests.push(Digest::of_parts(parts));
        }
        digests
    }

    /// The given rules and all they need, or `None` when that takes too many steps.
    fn closure(&self, roots: impl Iterator<Item = usize>, steps: &mut usize) -> Option<BTreeSet<usize>> {
        let mut open: Vec<_> = roots.collect();
        let mut closed = BTreeSet::new();
        while let Some(index) = open.pop() {
            *steps += 1;
            if *steps > MAX_STEPS {
                return None;
            }
            if closed.insert(index) {
                open.extend(&self.needs[index]);
            }
        }
        Some(closed)
    }

    /// Byte ranges of the given rules and the imports they use, neighbours merged with what stands between.
    fn ranges(&self, rules: &BTreeSet<usize>) -> Option<Vec<(u32, u32)>> {
        let imports =
            rules.iter().flat_map(|index| &self.rule(*index).mentions).filter_map(|name| self.modules.get(name));
        let items: BTreeSet<usize> = imports.copied().chain(rules.iter().map(|index| self.rules[*index])).collect();
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        let mut previous = None;
        for item in items {
            let (Item::Import { range, .. } | Item::Rule(Rule { range, .. })) = &self.items[item];
            let (start, end) = (u32::try_from(range.start).ok()?, u32::try_from(range.end).ok()?);
            match ranges.last_mut() {
                Some(last) if previous == item.checked_sub(1) => last.1 = end,
                _ => ranges.push((start, end)),
            }
            previous = Some(item);
        }
        Some(ranges)
    }
}

/// The earlier rules a rule names. Its own name is legal in its condition, and always false.
fn needed(rule: &Rule<'_>, earlier: &BTreeMap<&str, usize>, steps: &mut usize) -> Option<BTreeSet<usize>> {
    let mut needed: BTreeSet<usize> = rule.mentions.iter().filter_map(|name| earlier.get(name)).copied().collect();
    for wildcard in &rule.wildcards {
        needed.extend(members(wildcard.prefix, earlier).map(|(_, index)| index));
        *steps += needed.len();
        if *steps > MAX_STEPS {
            return None;
        }
    }
    Some(needed)
}

/// The rules whose names start with the prefix, in order of name.
pub(crate) fn members<'m>(
    prefix: &'m str,
    earlier: &'m BTreeMap<&str, usize>,
) -> impl Iterator<Item = (&'m str, usize)> {
    earlier.range(prefix..).map(|(name, index)| (*name, *index)).take_while(move |(name, _)| name.starts_with(prefix))
}
