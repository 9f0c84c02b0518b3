//! CLIENT, but for tracking.

use resp::{Request, parse_integer};

use super::{Flow, ReplyMode, executor::Context};

/// The longest name a connection may give itself or its library. Redis has no limit; these are held for each connection.
const LONGEST_WORD: usize = 1024;

pub(super) fn id(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let id = context.session.client.id;
    context.reply().unsigned(id);
    Flow::Done
}

pub(super) fn getname(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let name = context.session.client.words().name.clone();
    match name.is_empty() {
        true => context.reply().null(),
        false => context.reply().bulk(&name),
    }
    Flow::Done
}

pub(super) fn setname(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let name = request.get(2).unwrap_or_default();
    if let Err(text) = check_word("Client names", name) {
        return context.error(text);
    }
    context.session.client.words().name = name.to_vec();
    context.ok()
}

pub(super) fn setinfo(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let (attribute, value) = (request.get(2).unwrap_or_default(), request.get(3).unwrap_or_default());
    let (is_name, is_version) =
        (attribute.eq_ignore_ascii_case(b"lib-name"), attribute.eq_ignore_ascii_case(b"lib-ver"));
    if !is_name && !is_version {
        return context.error([b"ERR Unrecognized option '", attribute, b"'"].concat());
    }
    if let Err(text) = check_word(if is_name { "lib-name" } else { "lib-ver" }, value) {
        return context.error(text);
    }
    let mut words = context.session.client.words();
    match is_name {
        true => words.library = value.to_vec(),
        false => words.library_version = value.to_vec(),
    }
    drop(words);
    context.ok()
}

/// What is listed on one line must not end it, nor its field.
pub(super) fn check_word(what: &str, word: &[u8]) -> Result<(), String> {
    if !word.iter().all(|byte| (b'!'..=b'~').contains(byte)) {
        return Err(format!("ERR {what} cannot contain spaces, newlines or special characters."));
    }
    if word.len() > LONGEST_WORD {
        return Err(format!("ERR {what} cannot be longer than {LONGEST_WORD} bytes."));
    }
    Ok(())
}

pub(super) fn info(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let mut line = context.session.client.line();
    line.push(b'\n');
    context.reply().text(&String::from_utf8_lossy(&line));
    Flow::Done
}

pub(super) fn list(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let option = request.get(2).unwrap_or_default();
    let ids: Option<Vec<u64>> = match request.len() {
        2 => None,
        4 if option.eq_ignore_ascii_case(b"TYPE") => {
            let kind = request.get(3).unwrap_or_default();
            let known = ["normal", "master", "replica", "slave", "pubsub"];
            if !known.iter().any(|known| kind.eq_ignore_ascii_case(known.as_bytes())) {
                return context.error([b"ERR Unknown client type '", kind, b"'"].concat());
            }
            (!kind.eq_ignore_ascii_case(b"normal")).then(Vec::new)
        }
        4.. if option.eq_ignore_ascii_case(b"ID") => {
            let ids = request.from(3).iter().map(|id| parse_integer(id).and_then(|id| u64::try_from(id).ok()));
            let Some(ids) = ids.collect() else { return context.error("ERR Invalid client ID") };
            Some(ids)
        }
        _ => return context.syntax_error(),
    };
    let mut lines = Vec::new();
    for client in context.shared.clients.all() {
        if ids.as_ref().is_none_or(|ids| ids.contains(&client.id)) {
            lines.extend_from_slice(&client.line());
            lines.push(b'\n');
        }
    }
    context.reply().text(&String::from_utf8_lossy(&lines));
    Flow::Done
}

/// ON or OFF, or nothing.
fn switch(word: Option<&[u8]>) -> Option<bool> {
    let word = word?;
    let on = word.eq_ignore_ascii_case(b"on");
    (on || word.eq_ignore_ascii_case(b"off")).then_some(on)
}

pub(super) fn no_evict(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let Some(on) = switch(request.get(2)) else { return context.syntax_error() };
    context.session.no_evict = on;
    context.ok()
}

pub(super) fn no_touch(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let Some(on) = switch(request.get(2)) else { return context.syntax_error() };
    context.session.no_touch = on;
    context.ok()
}

pub(super) fn reply(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let word = request.get(2).unwrap_or_default();
    if word.eq_ignore_ascii_case(b"on") {
        context.session.reply_mode = ReplyMode::On;
        return context.ok();
    }
    if word.eq_ignore_ascii_case(b"off") {
        context.session.reply_mode = ReplyMode::Off;
        return Flow::Done;
    }
    if word.eq_ignore_ascii_case(b"skip") {
        if context.session.reply_mode != ReplyMode::Off {
            context.session.reply_mode = ReplyMode::SkipNext;
        }
        return Flow::Done;
    }
    context.syntax_error()
}

/// Nobody is ever paused.
pub(super) fn unpause(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    context.ok()
}

/// Nobody is ever blocked.
pub(super) fn unblock(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    match request.get(2).and_then(parse_integer) {
        Some(_) => context.integer(0),
        None => context.not_an_integer(),
    }
}
