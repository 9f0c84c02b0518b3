//! Which few bytes of a pattern to look for: rare ones, since every file that holds them by chance is scanned.

use std::collections::BTreeSet;

use super::Literals;

/// Literals of which a file must hold one, and what looking for them costs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Needed {
    pub(crate) literals: BTreeSet<Vec<u8>>,
    /// Expected chance hits; comparable, without a unit.
    pub(crate) cost: u64,
}

impl Needed {
    fn new(literals: BTreeSet<Vec<u8>>) -> Self {
        let cost = literals.iter().fold(0_u64, |sum, literal| sum.saturating_add(chance(literal)));
        Self { literals, cost }
    }

    /// Of what holds when all hold: the cheapest, whatever the others need.
    pub(crate) fn best(all: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        all.into_iter().flatten().min_by_key(|needed| needed.cost)
    }

    /// Of what holds when one of them holds. None as soon as nothing is known about one.
    pub(crate) fn one_of(all: impl IntoIterator<Item = Option<Self>>) -> Option<Self> {
        let mut literals = BTreeSet::new();
        for needed in all {
            literals.extend(needed?.literals);
            if literals.len() > Literals::MAX {
                return None;
            }
        }
        (!literals.is_empty()).then(|| Self::new(literals))
    }

    /// Of what holds when `count` of them hold: all but `count - 1` of them are out of question only together, so
    /// the most expensive ones can be left out.
    pub(crate) fn several_of(mut all: Vec<Option<Self>>, count: usize) -> Option<Self> {
        all.sort_by_key(|needed| needed.as_ref().map_or(u64::MAX, |needed| needed.cost));
        let kept = (all.len() + 1).checked_sub(count)?;
        Self::one_of(all.into_iter().take(kept))
    }
}

/// How the bytes of a run stand in the file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Spelling {
    /// ASCII letters in either case.
    pub(crate) nocase: bool,
    /// Each byte with a zero byte behind it.
    pub(crate) wide: bool,
}

/// More of a run is not looked at.
const MAX_RUN: usize = 512;
/// Letters of either case in one literal: 16 spellings.
const MAX_LETTERS: u32 = 4;

/// The rarest piece of bytes that stand in the file in a row, in all its spellings.
pub(crate) fn of_run(run: &[u8], spelling: Spelling) -> Option<Needed> {
    let run = &run[..run.len().min(MAX_RUN)];
    let mut bytes = Vec::with_capacity(run.len() * 2);
    for byte in run {
        bytes.push(*byte);
        if spelling.wide {
            bytes.push(0);
        }
    }
    let longest = Literals::MAX_BYTES;
    let starts = 0..bytes.len().saturating_sub(Literals::MIN_BYTES - 1);
    let pieces = starts.flat_map(|start| {
        let rest = &bytes[start..bytes.len().min(start + longest)];
        // Longer is rarer, except where it has more spellings.
        let shortest = if spelling.nocase { Literals::MIN_BYTES } else { rest.len() };
        (shortest..=rest.len()).map(|length| &rest[..length])
    });
    let spelled = pieces.filter_map(|piece| {
        if !spelling.nocase {
            return Some(BTreeSet::from([piece.to_vec()]));
        }
        let letters = piece.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
        // What libyara's lower case of a byte outside ASCII is, the locale decides.
        (letters <= MAX_LETTERS as usize && piece.is_ascii()).then(|| spellings(piece))
    });
    spelled.map(Needed::new).min_by_key(|needed| needed.cost)
}

fn spellings(piece: &[u8]) -> BTreeSet<Vec<u8>> {
    let mut all = vec![Vec::with_capacity(piece.len())];
    for byte in piece {
        if byte.is_ascii_alphabetic() {
            let mut upper = all.clone();
            upper.iter_mut().for_each(|spelling| spelling.push(byte.to_ascii_uppercase()));
            all.iter_mut().for_each(|spelling| spelling.push(byte.to_ascii_lowercase()));
            all.append(&mut upper);
        } else {
            all.iter_mut().for_each(|spelling| spelling.push(*byte));
        }
    }
    all.into_iter().collect()
}

/// How often a literal is to be expected where it is not meant, in arbitrary units.
///
/// A hit of all its bytes costs a scan of the file; one of its first four only a comparison, but a search that
/// stops all the time is slow as well, and the more so the more literals it has.
fn chance(literal: &[u8]) -> u64 {
    const SCAN: u32 = 60;
    const COMPARISON: u32 = 44;
    const ONE_MORE: u32 = 30;
    let bits = |bytes: &[u8]| {
        let mut before = None;
        bytes.iter().fold(0_u32, |sum, byte| {
            // Fillings repeat one byte: the second says little.
            let weight = if before == Some(*byte) { 1 } else { weight(*byte) };
            before = Some(*byte);
            sum + weight
        })
    };
    let power = |exponent: u32| 1_u64 << exponent;
    let of_first = bits(&literal[..literal.len().min(4)]);
    power(ONE_MORE) + power(SCAN.saturating_sub(bits(literal))) + power(COMPARISON.saturating_sub(of_first))
}

/// How much a byte tells, in bits, roughly as in `/usr` of a Linux machine: programs, their strings, texts.
fn weight(byte: u8) -> u32 {
    match byte {
        0 => 1,
        b' ' | 0xff => 3,
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'H' | b'\n' => 4,
        b'a'..=b'z' | b'0'..=b'9' | b'_' | b'.' | b'/' | b'-' | 1..=8 | 0x0f | 0x24 | 0x89 | 0x8b => 5,
        b'A'..=b'Z' | 0x21..=0x7e => 6,
        _ => 7,
    }
}
