//! Commands over all keys of a database: they walk in key order, dataset by dataset, shard by shard, on the read pool.

use std::ops::{Bound, ControlFlow};

use resp::{Reply, Request, glob_matches, literal_prefix, parse_integer};

use super::{
    Flow,
    data::LOADING,
    executor::{Context, ENOUGH_OUTPUT},
};
use crate::{
    catalog::{Serving, Version},
    cursors::Position,
};

/// Keys that one command may look at. A million take about a second of one thread of the read pool.
pub(super) const MOST_KEYS: usize = 1_000_000;
/// What COUNT may ask for at once.
const MOST_COUNT: usize = 100_000;
/// Bytes of a key that RANDOMKEY chooses; each takes up to ten searches.
const DEEPEST: usize = 24;
/// Redis's own.
const DEFAULT_COUNT: usize = 10;

pub(super) fn dbsize(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let slots = context.serving.in_database(context.session.db);
    let keys: u64 = slots.filter_map(|(_, _, slot)| slot.current.as_ref()).map(|version| version.keys()).sum();
    context.reply().unsigned(keys);
    Flow::Done
}

/// One dataset of a database: its prefix, its index in the catalog, and the version that is served.
struct Area<'a> {
    prefix: &'a [u8],
    dataset: usize,
    version: &'a Version,
}

/// The datasets of a database, or an error if one is not open yet: to leave it out would pass for an answer.
fn areas<'a>(serving: &'a Serving, db: usize) -> Result<Vec<Area<'a>>, &'static str> {
    let slots = serving.in_database(db);
    slots
        .map(|(prefix, dataset, slot)| {
            let version = slot.current.as_deref().ok_or(LOADING)?;
            Ok(Area { prefix, dataset, version })
        })
        .collect()
}

struct ScanOptions<'a> {
    cursor: u64,
    count: usize,
    pattern: Option<&'a [u8]>,
    /// Whether the TYPE that was asked for is the one there is.
    strings: bool,
}

pub(super) fn scan(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let options = match scan_options(request) {
        Ok(options) => options,
        Err(text) => return context.error(text),
    };
    if !context.may_wait {
        return Flow::NeedsDisk;
    }
    let areas = match areas(context.serving, context.session.db) {
        Ok(areas) => areas,
        Err(text) => return context.error(text),
    };
    let from = match options.cursor {
        0 => areas.first().map(|area| Position { dataset: area.dataset, part: 0, after: None }),
        cursor => match context.shared.cursors.get(cursor) {
            Some(position) if areas.iter().any(|area| area.dataset == position.dataset) => Some(position),
            _unknown => return context.error("ERR invalid cursor"),
        },
    };
    let mut found = Found::default();
    let next = match from.map(|from| walk(&areas, from, &options, &mut found)).transpose() {
        Ok(next) => next.flatten(),
        Err(error) => {
            context.read_failed(&error);
            return Flow::Done;
        }
    };
    let cursor = next.map_or(0, |next| context.shared.cursors.put(next));
    let mut reply = context.reply();
    reply.array(2);
    reply.bulk(cursor.to_string().as_bytes());
    found.reply(&mut reply);
    Flow::Done
}

/// Tells at most `options.count` keys from `position` on, fewer if they are long; returns where to go on, or `None` at the end.
fn walk(
    areas: &[Area<'_>],
    mut position: Position,
    options: &ScanOptions<'_>,
    found: &mut Found,
) -> Result<Option<Position>, shard::Error> {
    let mut left = options.count;
    let first = areas.iter().position(|area| area.dataset == position.dataset).unwrap_or(areas.len());
    for area in &areas[first..] {
        if position.dataset != area.dataset {
            position = Position { dataset: area.dataset, part: 0, after: None };
        }
        let parts = area.version.parts();
        while let Some(part) = parts.get(position.part) {
            if let Some(shard) = part.shard() {
                let from = position.after.take();
                let bound = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                let mut last: Option<Box<[u8]>> = None;
                let stopped = shard.scan_from(bound, |key, _| {
                    if options.strings {
                        found.push(area.prefix, key, options.pattern);
                    }
                    left -= 1;
                    if left > 0 && found.bytes.len() < ENOUGH_OUTPUT {
                        return ControlFlow::Continue(());
                    }
                    last = Some(key.into());
                    ControlFlow::Break(())
                })?;
                if stopped.is_break() {
                    return Ok(Some(Position { after: last, ..position }));
                }
            }
            position.part += 1;
            position.after = None;
        }
    }
    Ok(None)
}

fn scan_options(request: Request<'_>) -> Result<ScanOptions<'_>, &'static str> {
    let cursor = cursor(request.get(1).unwrap_or_default()).ok_or("ERR invalid cursor")?;
    let mut options = ScanOptions { cursor, count: DEFAULT_COUNT, pattern: None, strings: true };
    let mut arguments = request.from(2).iter();
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or("ERR syntax error")?;
        if name.eq_ignore_ascii_case(b"count") {
            let count = parse_integer(value).ok_or("ERR value is not an integer or out of range")?;
            let count = usize::try_from(count).ok().filter(|count| *count > 0).ok_or("ERR syntax error")?;
            options.count = count.min(MOST_COUNT);
        } else if name.eq_ignore_ascii_case(b"match") {
            options.pattern = Some(value).filter(|pattern| *pattern != b"*");
        } else if name.eq_ignore_ascii_case(b"type") {
            options.strings = value.eq_ignore_ascii_case(b"string");
        } else {
            return Err("ERR syntax error");
        }
    }
    Ok(options)
}

/// As C's `strtoul` reads it, which Redis uses here and nowhere else: a sign may stand before it, and nothing is 0.
fn cursor(text: &[u8]) -> Option<u64> {
    let (negative, digits) = match text {
        [] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(if negative { value.wrapping_neg() } else { value })
}

pub(super) fn keys(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    if !context.may_wait {
        return Flow::NeedsDisk;
    }
    let areas = match areas(context.serving, context.session.db) {
        Ok(areas) => areas,
        Err(text) => return context.error(text),
    };
    let pattern = request.get(1).unwrap_or_default();
    let prefix = literal_prefix(pattern);
    let (mut found, mut left) = (Found::default(), MOST_KEYS);
    for area in &areas {
        // What both begin with is settled; the rest of the pattern's prefix is where the walk begins.
        let Some(begin) = prefix.strip_prefix(area.prefix).or(area.prefix.starts_with(prefix).then_some(&[])) else {
            continue;
        };
        for shard in area.version.shards() {
            let walked = shard.scan_from(Bound::Included(begin), |key, _| {
                if !key.starts_with(begin) {
                    return ControlFlow::Break(());
                }
                if left == 0 || found.bytes.len() > context.shared.settings.output_limit {
                    left = 0;
                    return ControlFlow::Break(());
                }
                left -= 1;
                found.push(area.prefix, key, Some(pattern));
                ControlFlow::Continue(())
            });
            if let Err(error) = walked {
                context.read_failed(&error);
                return Flow::Done;
            }
            if left == 0 {
                return context.error(format!("ERR KEYS would look at more than {MOST_KEYS} keys, use SCAN instead"));
            }
        }
    }
    found.reply(&mut context.reply());
    Flow::Done
}

/// Seeks a random place between the first and the last key of a shard. Keys after wide gaps come up more often than others.
pub(super) fn randomkey(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    if !context.may_wait {
        return Flow::NeedsDisk;
    }
    let areas = match areas(context.serving, context.session.db) {
        Ok(areas) => areas,
        Err(text) => return context.error(text),
    };
    let shards: Vec<_> = areas
        .iter()
        .flat_map(|area| area.version.parts().iter().map(move |part| (area.prefix, part)))
        .filter_map(|(prefix, part)| Some((prefix, part.shard()?, part.keys().max(1)))) // an estimate may say 0
        .collect();
    let all: u64 = shards.iter().map(|(_, _, keys)| keys).sum();
    let mut ticket = random().checked_rem(all).unwrap_or(0);
    for (prefix, shard, keys) in shards {
        if ticket >= keys {
            ticket -= keys;
            continue;
        }
        match random_key_of(shard) {
            Ok(Some(key)) => {
                context.reply().bulk(&[prefix, &key].concat());
                return Flow::Done;
            }
            Ok(None) => {} // empty after all
            Err(error) => {
                context.read_failed(&error);
                return Flow::Done;
            }
        }
    }
    context.reply().null();
    Flow::Done
}

fn random_key_of(shard: &shard::Shard) -> Result<Option<Vec<u8>>, shard::Error> {
    let first_from = |bound: Bound<&[u8]>| {
        let mut first = None;
        let walked = shard.scan_from(bound, |key, _| {
            first = Some(key.to_vec());
            ControlFlow::Break(())
        });
        walked.map(|_| first)
    };
    let Some(first) = first_from(Bound::Unbounded)? else { return Ok(None) };
    // From the first key on, byte by byte: one between the least and the greatest that keys go on with, and the next key from there.
    let mut chosen = first;
    for length in 0..DEEPEST {
        let Some((prefix, least)) = chosen.get(..length).zip(chosen.get(length).copied()) else { break };
        let least = first_from(Bound::Included(prefix))?.and_then(|key| key.get(length).copied()).unwrap_or(least);
        let goes_on = |byte: u8| {
            let next = first_from(Bound::Included(&[prefix, &[byte]].concat()))?;
            Ok::<_, shard::Error>(next.filter(|next| next.starts_with(prefix)))
        };
        let (mut greatest, mut beyond) = (least, u16::from(u8::MAX) + 1);
        while let Ok(middle) = u8::try_from((u16::from(greatest) + beyond) / 2)
            && middle > greatest
        {
            match goes_on(middle)? {
                Some(_) => greatest = middle,
                None => beyond = middle.into(),
            }
        }
        let span = u64::from(greatest - least) + 1;
        let byte = least + u8::try_from(random() % span).unwrap_or(0);
        if let Some(next) = goes_on(byte)? {
            chosen = next;
        }
    }
    Ok(Some(chosen))
}

/// Good enough to pick a key: hashing with a random key is what the standard library offers.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0u8)
}

/// Keys as they will be replied, and how many.
#[derive(Default)]
pub(super) struct Found {
    bytes: Vec<u8>,
    count: usize,
    key: Vec<u8>,
}

impl Found {
    pub(super) fn push(&mut self, prefix: &[u8], key: &[u8], pattern: Option<&[u8]>) {
        self.key.clear();
        self.key.extend_from_slice(prefix);
        self.key.extend_from_slice(key);
        if pattern.is_none_or(|pattern| glob_matches(pattern, &self.key, false)) {
            Reply::new(&mut self.bytes, resp::Protocol::Resp2).bulk(&self.key);
            self.count += 1;
        }
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Of the reply so far.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn reply(&self, reply: &mut Reply<'_>) {
        reply.array(self.count);
        reply.frames(&self.bytes);
    }
}

/// How many keys of a database fall into a hash slot; `None` while another connection has them counted.
pub(super) fn count_slot(context: &Context<'_>, slot: u16) -> Result<Option<u64>, Failure> {
    let mut count = 0;
    for area in areas(context.serving, context.session.db).map_err(Failure::Refused)? {
        let parts = area.version.parts();
        let part = &parts[parts.partition_point(|part| part.last_slot() < slot)];
        match part.keys_in_slot(area.prefix, slot).map_err(Failure::Read)? {
            Some(keys) => count += keys,
            None => return Ok(None),
        }
    }
    Ok(Some(count))
}

/// Walks all keys of a database that fall into a hash slot. `visit` breaks to stop. False if there were too many to look at.
pub(super) fn walk_slot(
    context: &Context<'_>,
    slot: u16,
    mut visit: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
) -> Result<bool, Failure> {
    let mut left = MOST_KEYS;
    let mut asked = Vec::new();
    for area in areas(context.serving, context.session.db).map_err(Failure::Refused)? {
        let parts = area.version.parts();
        let part = &parts[parts.partition_point(|part| part.last_slot() < slot)];
        let Some(shard) = part.shard() else { continue };
        let walked = shard.scan_from(Bound::Unbounded, |key, _| {
            if left == 0 {
                return ControlFlow::Break(());
            }
            left -= 1;
            asked.clear();
            asked.extend_from_slice(area.prefix);
            asked.extend_from_slice(key);
            if resp::hash_slot(&asked) == slot { visit(area.prefix, key) } else { ControlFlow::Continue(()) }
        });
        let broken = walked.map_err(Failure::Read)?.is_break();
        if left == 0 {
            return Ok(false);
        }
        if broken {
            break;
        }
    }
    Ok(true)
}

pub(super) enum Failure {
    Refused(&'static str),
    Read(shard::Error),
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_are_read_as_c_reads_them() {
        assert_eq!(cursor(b"0"), Some(0));
        assert_eq!(cursor(b""), Some(0));
        assert_eq!(cursor(b"007"), Some(7));
        assert_eq!(cursor(b"+7"), Some(7));
        assert_eq!(cursor(b"-1"), Some(u64::MAX));
        assert_eq!(cursor(b"18446744073709551615"), Some(u64::MAX));
        for text in ["18446744073709551616", "x", "1x", " 1", "+", "-"] {
            assert_eq!(cursor(text.as_bytes()), None, "{text:?}");
        }
    }
}
