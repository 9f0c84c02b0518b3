//! Commands that read values by key.

use resp::{Request, parse_integer};
use shard::InMemory;

use super::{
    Flow,
    data::{Fetched, batch},
    executor::Context,
};

/// What a key costs besides its bytes where it lies: lengths, its share of index and filter. An estimate, as Redis's own is.
const OVERHEAD: usize = 16;

pub(super) fn get(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let key = request.get(1).unwrap_or_default();
    let fetched = context.fetch(key, |value, reply| match value {
        Some(value) => {
            reply.bulk(value);
            true
        }
        None => {
            reply.null();
            false
        }
    });
    if let Fetched::Done(hit) = fetched {
        context.tally.looked_up(hit);
    }
    fetched.flow()
}

pub(super) fn mget(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let keys = request.from(1);
    let before = context.out.len();
    context.reply().array(keys.len());
    if keys.len() > 1
        && let Some(batch) = batch(context.serving, context.session.db, keys.iter(), context.may_wait)
    {
        return mget_batch(context, batch.shard, &batch.keys, before);
    }
    for key in keys.iter() {
        let began = context.out.len();
        if began - before > context.shared.settings.output_limit {
            return Flow::TooMuchOutput;
        }
        match context.fetch(key, |value, reply| match value {
            Some(value) => {
                reply.bulk(value);
                true
            }
            None => {
                reply.null();
                false
            }
        }) {
            Fetched::Done(hit) => context.tally.looked_up(hit),
            Fetched::NeedsDisk => return Flow::NeedsDisk,
            Fetched::Refused => {
                context.out.drain(before..began); // the error stands for all of it
                return Flow::Done;
            }
        }
    }
    Flow::Done
}

fn mget_batch(context: &mut Context<'_>, shard: &shard::Shard, keys: &[&[u8]], before: usize) -> Flow {
    let limit = context.shared.settings.output_limit;
    let (mut hits, mut too_much) = (0, false);
    let may_wait = context.may_wait;
    let mut reply = context.reply();
    let read = shard.multi_get(keys, may_wait, |_, value| {
        if reply.written() - before > limit {
            too_much = true;
            return;
        }
        match value {
            Some(value) => {
                hits += 1;
                reply.bulk(value);
            }
            None => reply.null(),
        }
    });
    match read {
        Ok(InMemory::Done(())) => {}
        Ok(InMemory::MayNeedDisk) => return Flow::NeedsDisk,
        Err(error) => {
            context.out.truncate(before);
            context.read_failed(&error);
            return Flow::Done;
        }
    }
    if too_much {
        return Flow::TooMuchOutput;
    }
    context.tally.looked_up_many(hits, keys.len() - hits);
    Flow::Done
}

/// EXISTS and TOUCH: how many of the keys there are, each counted as often as it is named.
pub(super) fn exists(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let mut found = 0;
    for key in request.from(1).iter() {
        match context.fetch(key, |value, _| value.is_some()) {
            Fetched::Done(exists) => {
                context.tally.looked_up(exists);
                found += i64::from(exists);
            }
            other => return other.flow(),
        }
    }
    context.integer(found)
}

pub(super) fn strlen(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let key = request.get(1).unwrap_or_default();
    let fetched = context.fetch(key, |value, reply| {
        reply.unsigned(value.map_or(0, <[u8]>::len) as u64);
        value.is_some()
    });
    counted(context, fetched)
}

/// GETRANGE and its old name SUBSTR. Negative positions count from the end.
pub(super) fn getrange(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let integer = |index| request.get(index).and_then(parse_integer);
    let (Some(start), Some(end)) = (integer(2), integer(3)) else { return context.not_an_integer() };
    let key = request.get(1).unwrap_or_default();
    let fetched = context.fetch(key, |value, reply| {
        reply.bulk(value.map_or(&[][..], |value| part_of(value, start, end)));
        value.is_some()
    });
    counted(context, fetched)
}

fn part_of(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let from_start = |position: i64| if position < 0 { (length.saturating_add(position)).max(0) } else { position };
    let (start, end) = (from_start(start), from_start(end).min(length - 1));
    if start > end || length == 0 {
        return &[];
    }
    let index = |position: i64| usize::try_from(position).expect("between 0 and the length");
    &value[index(start)..=index(end)]
}

pub(super) fn type_of(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let key = request.get(1).unwrap_or_default();
    let fetched = context.fetch(key, |value, reply| {
        reply.simple(if value.is_some() { "string" } else { "none" });
        value.is_some()
    });
    counted(context, fetched)
}

/// TTL, PTTL, EXPIRETIME, PEXPIRETIME: nothing expires here.
pub(super) fn ttl(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let key = request.get(1).unwrap_or_default();
    let fetched = context.fetch(key, |value, reply| {
        reply.integer(if value.is_some() { -1 } else { -2 });
        value.is_some()
    });
    counted(context, fetched)
}

pub(super) fn memory_usage(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let mut options = request.from(3).iter();
    while let Some(option) = options.next() {
        if !option.eq_ignore_ascii_case(b"samples") {
            return context.syntax_error();
        }
        match options.next().map(parse_integer) {
            Some(Some(0..)) => {}
            Some(None) => return context.not_an_integer(),
            Some(Some(_)) | None => return context.syntax_error(),
        }
    }
    let key = request.get(2).unwrap_or_default();
    let fetched = context.fetch(key, |value, reply| match value {
        Some(value) => reply.unsigned((key.len() + value.len() + OVERHEAD) as u64),
        None => reply.null(),
    });
    fetched.flow()
}

fn counted(context: &mut Context<'_>, fetched: Fetched<bool>) -> Flow {
    if let Fetched::Done(hit) = fetched {
        context.tally.looked_up(hit);
    }
    fetched.flow()
}

#[cfg(test)]
mod tests {
    use super::part_of;

    #[test]
    fn ranges_are_cut_as_redis_cuts_them() {
        let cases: [(i64, i64, &[u8]); 12] = [
            (0, 3, b"This"),
            (-3, -1, b"ing"),
            (0, -1, b"This is a string"),
            (10, 100, b"string"),
            (5, 3, b""),
            (-1, -5, b""),
            (100, 200, b""),
            (-100, 1, b"Th"),
            (-100, -50, b"T"),
            (0, -100, b"T"),
            (i64::MIN, i64::MAX, b"This is a string"),
            (i64::MAX, i64::MIN, b""),
        ];
        for (start, end, expected) in cases {
            assert_eq!(part_of(b"This is a string", start, end), expected, "{start} {end}");
        }
        assert_eq!(part_of(b"", 0, -1), b"");
    }
}
