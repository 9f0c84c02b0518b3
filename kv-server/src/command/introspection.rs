//! COMMAND: the table, as clients are told it.

use resp::{Reply, Request, glob_matches};

use super::{Command, Flow, Keys, all as every, by_name, docs::Docs, executor::Context};

pub(super) fn all(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let mut reply = context.reply();
    reply.array(every().len());
    every().iter().for_each(|command| describe(&mut reply, command));
    Flow::Done
}

pub(super) fn count(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    context.integer(i64::try_from(every().len()).unwrap_or(i64::MAX))
}

pub(super) fn info(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    if request.len() == 2 {
        return all(context, request);
    }
    let names = request.from(2);
    let mut reply = context.reply();
    reply.array(names.len());
    for name in names.iter() {
        match named(name) {
            Some(command) => describe(&mut reply, command),
            None => reply.null_array(),
        }
    }
    Flow::Done
}

/// A command, or a subcommand written `container|name`.
fn named(name: &[u8]) -> Option<&'static Command> {
    match name.iter().position(|byte| *byte == b'|') {
        Some(bar) => by_name(&name[..bar])?.subcommand(&name[bar + 1..]),
        None => by_name(name),
    }
}

fn describe(reply: &mut Reply<'_>, command: &Command) {
    let Keys(first, last, step) = command.keys;
    reply.array(10);
    reply.bulk(command.name.as_bytes());
    reply.integer(command.arity.into());
    words(reply, command.flags);
    for position in [first, last, step] {
        reply.integer(position.into());
    }
    words(reply, command.categories);
    let tips = command.tips.split_whitespace();
    reply.array(tips.clone().count());
    tips.for_each(|tip| reply.bulk(tip.as_bytes()));
    match command.key_flags {
        "" => reply.array(0),
        flags => key_specification(reply, flags, command.keys),
    }
    reply.array(command.subcommands.len());
    command.subcommands.iter().for_each(|subcommand| describe(reply, subcommand));
}

fn words(reply: &mut Reply<'_>, words: &str) {
    let words = words.split_whitespace();
    reply.set(words.clone().count());
    words.for_each(|word| reply.simple(word));
}

fn key_specification(reply: &mut Reply<'_>, flags: &str, Keys(first, last, step): Keys) {
    reply.array(1);
    reply.map(3);
    reply.bulk(b"flags");
    words(reply, flags);
    reply.bulk(b"begin_search");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.integer(first.into());
    reply.bulk(b"find_keys");
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(b"range");
    reply.bulk(b"spec");
    reply.map(3);
    reply.bulk(b"lastkey");
    reply.integer(if last < 0 { last.into() } else { i64::from(last) - i64::from(first) });
    reply.bulk(b"keystep");
    reply.integer(step.into());
    reply.bulk(b"limit");
    reply.integer(0);
}

pub(super) fn list(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let names = |keep: &dyn Fn(&Command) -> bool| -> Vec<&'static str> {
        every()
            .iter()
            .flat_map(|it| std::iter::once(it).chain(it.subcommands))
            .filter(|it| keep(it))
            .map(|it| it.name)
            .collect()
    };
    let (by, what) = (request.get(3).unwrap_or_default(), request.get(4).unwrap_or_default());
    let filters = request.get(2).is_some_and(|word| word.eq_ignore_ascii_case(b"filterby"));
    let found = match request.len() {
        2 => names(&|_| true),
        5 if filters && by.eq_ignore_ascii_case(b"module") => Vec::new(),
        5 if filters && by.eq_ignore_ascii_case(b"aclcat") => names(&|command| {
            let wanted = |category: &str| what.eq_ignore_ascii_case(category.trim_start_matches('@').as_bytes());
            command.categories.split_whitespace().any(wanted)
        }),
        5 if filters && by.eq_ignore_ascii_case(b"pattern") => {
            names(&|command| glob_matches(what, command.name.as_bytes(), true))
        }
        _ => return context.syntax_error(),
    };
    let mut reply = context.reply();
    reply.array(found.len());
    found.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Flow::Done
}

pub(super) fn docs(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let wanted: Vec<&Command> = match request.len() {
        2 => every().iter().collect(),
        _ => request.from(2).iter().filter_map(named).collect(),
    };
    let mut reply = context.reply();
    reply.map(wanted.len());
    for command in wanted {
        describe_in_words(&mut reply, command);
    }
    Flow::Done
}

fn describe_in_words(reply: &mut Reply<'_>, command: &Command) {
    let docs = Docs::of(command.name);
    reply.bulk(command.name.as_bytes());
    reply.map(if command.subcommands.is_empty() { 3 } else { 4 });
    for (name, text) in [("summary", docs.summary), ("since", docs.since), ("group", docs.group)] {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
    if !command.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(command.subcommands.len());
        command.subcommands.iter().for_each(|subcommand| describe_in_words(reply, subcommand));
    }
}

pub(super) fn getkeys(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let inner = request.from(2);
    let command = by_name(inner.name());
    let command =
        command.and_then(|it| if it.subcommands.is_empty() { Some(it) } else { it.subcommand(inner.get(1)?) });
    let Some(command) = command else { return context.error("ERR Invalid command specified") };
    if command.keys.are_none() {
        return context.error("ERR The command has no key arguments");
    }
    if !command.accepts(inner.len()) {
        return context.error("ERR Invalid number of arguments specified for command");
    }
    let keys = command.keys.of(inner);
    let mut reply = context.reply();
    reply.array(keys.clone().count());
    keys.for_each(|key| reply.bulk(key));
    Flow::Done
}
