//! Which patterns a condition cannot do without.
//!
//! Operands and chains follow as in `gate`: an `and` chain needs what one of its operands needs, and the cheapest
//! is chosen; an `or` chain needs one of what its operands need. An operand needs a pattern if it is false or
//! undefined without a match of it.
//!
//! Source: libyara 4.5.5, `exec.c`: the count of a pattern without a match is 0, its offset and length are
//! undefined; a loop over nothing is false whatever its quantifier; `of` and `for` with a quantifier of 1 or more
//! hold if that many members do, `all` if every one does, a percentage if their share reaches it.

use yara_x_parser::cst::SyntaxKind;

use super::{literal::Needed, pattern::Pattern};
use crate::{
    gate::{hands_undefined_on, inside_parentheses, number, split_at},
    syntax::Word,
};

/// What a condition may refer to.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'s> {
    pub(crate) patterns: &'s [Pattern<'s>],
    /// An earlier rule of the source.
    pub(crate) rule: &'s dyn Fn(&str) -> Option<Needed>,
    /// The earlier rules whose names begin so.
    pub(crate) rules: &'s dyn Fn(&str) -> Vec<Option<Needed>>,
    /// What `$` stands for, in the body of a loop over patterns.
    pub(crate) looped: Option<&'s Pattern<'s>>,
    /// Inside a loop over values a name may be one of them.
    pub(crate) has_variables: bool,
}

pub(crate) fn of_condition(condition: &[Word<'_>], scope: Scope<'_>) -> Option<Needed> {
    let of_chain = |chain: &[Word<'_>]| {
        Needed::best(split_at(chain, SyntaxKind::AND_KW).into_iter().map(|operand| of_operand(operand, scope)))
    };
    Needed::one_of(split_at(condition, SyntaxKind::OR_KW).into_iter().map(of_chain))
}

fn of_operand(operand: &[Word<'_>], scope: Scope<'_>) -> Option<Needed> {
    if let Some(inside) = inside_parentheses(operand) {
        return of_condition(inside, scope);
    }
    match operand {
        [name] if name.kind == SyntaxKind::IDENT && !scope.has_variables => (scope.rule)(name.text),
        [pattern] if pattern.kind == SyntaxKind::PATTERN_IDENT => scope.pattern(pattern.text),
        [pattern, place, _, ..]
            if pattern.kind == SyntaxKind::PATTERN_IDENT
                && matches!(place.kind, SyntaxKind::AT_KW | SyntaxKind::IN_KW) =>
        {
            scope.pattern(pattern.text)
        }
        [count, comparison @ ..] if count.kind == SyntaxKind::PATTERN_COUNT => of_count(count, comparison, scope),
        [first, quantified @ ..] if first.kind == SyntaxKind::FOR_KW => of_loop(quantified, scope),
        _ => of_set(operand, scope).or_else(|| of_place(operand, scope)),
    }
}

/// `#a > 0`, `#a in (0..100) >= 2` and the like: false if there is no match.
fn of_count(count: &Word<'_>, comparison: &[Word<'_>], scope: Scope<'_>) -> Option<Needed> {
    let comparison = match comparison {
        [within, rest @ ..] if within.kind == SyntaxKind::IN_KW => {
            let end = rest.iter().position(|word| word.kind == SyntaxKind::R_PAREN)?;
            // The range itself may hold calls; nobody writes that.
            inside_parentheses(&rest[..=end])?;
            &rest[end + 1..]
        }
        plain => plain,
    };
    let [operator, value] = comparison else { return None };
    let value = number(value.text).filter(|_| value.kind == SyntaxKind::INTEGER_LIT)?;
    let is_false_for_none = match operator.kind {
        SyntaxKind::GT => true,
        SyntaxKind::GE | SyntaxKind::EQ => value > 0,
        SyntaxKind::NE => value == 0,
        _ => false,
    };
    if is_false_for_none { scope.pattern(&pattern_name(count.text)) } else { None }
}

/// A comparison of offsets or lengths of matches, which are undefined if there is none.
fn of_place(operand: &[Word<'_>], scope: Scope<'_>) -> Option<Needed> {
    let is_place = |word: &Word<'_>| matches!(word.kind, SyntaxKind::PATTERN_OFFSET | SyntaxKind::PATTERN_LENGTH);
    if !operand.iter().all(|word| is_place(word) || hands_undefined_on(word)) {
        return None;
    }
    let mut depth = 0_usize;
    let mut needed = Vec::new();
    for word in operand {
        match word.kind {
            SyntaxKind::L_PAREN | SyntaxKind::L_BRACKET => depth += 1,
            SyntaxKind::R_PAREN | SyntaxKind::R_BRACKET => depth = depth.saturating_sub(1),
            _ if depth == 0 && is_place(word) => needed.push(scope.pattern(&pattern_name(word.text))),
            _ => {}
        }
    }
    Needed::best(needed)
}

/// `#a`, `@a` and `!a` as `$a`.
fn pattern_name(word: &str) -> String {
    format!("${}", &word[1..])
}

/// How many members must hold.
#[derive(Clone, Copy)]
enum Quantifier {
    All,
    AtLeast(usize),
}

/// A quantifier that nothing satisfies, and what stands behind it.
fn quantifier<'o, 'a>(words: &'o [Word<'a>]) -> Option<(Quantifier, &'o [Word<'a>])> {
    let (first, rest) = words.split_first()?;
    let quantifier = match (first.kind, number(first.text)) {
        (SyntaxKind::ALL_KW, _) => Quantifier::All,
        (SyntaxKind::ANY_KW, _) => Quantifier::AtLeast(1),
        (SyntaxKind::INTEGER_LIT, Some(count)) if count > 0 => Quantifier::AtLeast(usize::try_from(count).ok()?),
        _ => return None,
    };
    match rest.split_first() {
        // A share above nothing is at least one; more is not worth the arithmetic.
        Some((percent, rest)) if percent.text == "%" => {
            matches!(quantifier, Quantifier::AtLeast(_)).then_some((Quantifier::AtLeast(1), rest))
        }
        _ => Some((quantifier, rest)),
    }
}

/// `2 of ($a, $b*)`, `any of them in (0..100)`, `all of (rule, prefix*)`.
fn of_set(operand: &[Word<'_>], scope: Scope<'_>) -> Option<Needed> {
    let (quantifier, rest) = quantifier(operand)?;
    let (of, rest) = rest.split_first()?;
    let (members, rest) = set(rest)?;
    let nothing_more = match rest.first() {
        None => true,
        Some(place) => matches!(place.kind, SyntaxKind::AT_KW | SyntaxKind::IN_KW),
    };
    if of.kind != SyntaxKind::OF_KW || !nothing_more {
        return None;
    }
    match scope.patterns_of(members) {
        Some(patterns) => {
            let names: Vec<_> = patterns.iter().map(|pattern| pattern.name).collect();
            quantified(quantifier, &names, patterns.iter().map(|pattern| pattern.needed.clone()).collect())
        }
        None if rest.is_empty() && !scope.has_variables => {
            let (names, needed) = scope.rules_of(members)?;
            quantified(quantifier, &names, needed)
        }
        None => None,
    }
}

/// `for any of ($a*) : ( body )` and `for all i in (1..3) : ( body )`.
fn of_loop(words: &[Word<'_>], scope: Scope<'_>) -> Option<Needed> {
    let (quantifier, rest) = quantifier(words)?;
    let (first, rest) = rest.split_first()?;
    if first.kind != SyntaxKind::OF_KW {
        // Over values. The body holds at least once, so what it needs is there.
        let (_values, body) = split_at_colon(rest)?;
        let is_variable = first.kind == SyntaxKind::IDENT;
        return if is_variable { of_condition(body, Scope { has_variables: true, ..scope }) } else { None };
    }
    let (members, rest) = set(rest)?;
    let ([], body) = split_at_colon(rest)? else { return None };
    let patterns = scope.patterns_of(members)?;
    let of_body = |pattern: &&Pattern<'_>| of_condition(body, Scope { looped: Some(pattern), ..scope });
    let names: Vec<_> = patterns.iter().map(|pattern| pattern.name).collect();
    quantified(quantifier, &names, patterns.iter().map(of_body).collect())
}

/// The head of a loop and what its last parentheses hold.
fn split_at_colon<'o, 'a>(words: &'o [Word<'a>]) -> Option<(&'o [Word<'a>], &'o [Word<'a>])> {
    let colon = words.iter().position(|word| word.kind == SyntaxKind::COLON)?;
    Some((&words[..colon], inside_parentheses(&words[colon + 1..])?))
}

/// What a set holds, `them` as one word, and what stands behind it.
fn set<'o, 'a>(words: &'o [Word<'a>]) -> Option<(&'o [Word<'a>], &'o [Word<'a>])> {
    if words.first()?.kind == SyntaxKind::THEM_KW {
        return Some(words.split_at(1));
    }
    let end = words.iter().position(|word| word.kind == SyntaxKind::R_PAREN)?;
    Some((inside_parentheses(&words[..=end])?, &words[end + 1..]))
}

fn quantified(quantifier: Quantifier, names: &[&str], members: Vec<Option<Needed>>) -> Option<Needed> {
    let mut distinct: Vec<_> = names.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    match quantifier {
        Quantifier::All => Needed::best(members),
        // A member that is listed twice may count twice.
        Quantifier::AtLeast(_) if distinct.len() < members.len() => Needed::one_of(members),
        Quantifier::AtLeast(count) => Needed::several_of(members, count),
    }
}

impl<'s> Scope<'s> {
    fn pattern(&self, name: &str) -> Option<Needed> {
        let mut named = match (name, self.looped) {
            ("$", looped) => return looped?.needed.clone(),
            _ => self.patterns.iter().filter(|pattern| pattern.name == name),
        };
        let found = named.next()?.needed.clone();
        if named.next().is_none() { found } else { None }
    }

    /// None: it is no set of patterns, or an empty one.
    fn patterns_of(&self, members: &[Word<'_>]) -> Option<Vec<&'s Pattern<'s>>> {
        let mut all: Vec<&Pattern<'_>> = Vec::new();
        if let [them] = members
            && them.kind == SyntaxKind::THEM_KW
        {
            all.extend(self.patterns);
        } else {
            for member in split_at(members, SyntaxKind::COMMA) {
                let before = all.len();
                match member {
                    [name] if name.kind == SyntaxKind::PATTERN_IDENT => {
                        all.extend(self.patterns.iter().filter(|pattern| pattern.name == name.text));
                    }
                    [prefix, star] if prefix.kind == SyntaxKind::PATTERN_IDENT && star.text == "*" => {
                        all.extend(self.patterns.iter().filter(|pattern| pattern.name.starts_with(prefix.text)));
                    }
                    _ => return None,
                }
                if all.len() == before {
                    return None;
                }
            }
        }
        (!all.is_empty()).then_some(all)
    }

    fn rules_of<'m>(&self, members: &[Word<'m>]) -> Option<(Vec<&'m str>, Vec<Option<Needed>>)> {
        let mut names = Vec::new();
        let mut needed = Vec::new();
        for member in split_at(members, SyntaxKind::COMMA) {
            match member {
                [name] if name.kind == SyntaxKind::IDENT => needed.push((self.rule)(name.text)),
                [prefix, star] if prefix.kind == SyntaxKind::IDENT && star.text == "*" => {
                    needed.extend((self.rules)(prefix.text));
                }
                _ => return None,
            }
            // Members of two prefixes may be the same: with one name fewer than members, none is left out.
            names.extend(member.first().map(|word| word.text));
        }
        (!needed.is_empty()).then_some((names, needed))
    }
}
