//! Commands about the connection itself.

use resp::{Request, parse_integer};

use super::{Flow, executor::Context};

pub(super) fn ping(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    match (request.len(), request.get(1)) {
        (1, _) => context.reply().simple("PONG"),
        (2, Some(message)) => context.reply().bulk(message),
        _more => return context.error("ERR wrong number of arguments for 'ping' command"),
    }
    Flow::Done
}

pub(super) fn echo(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    context.reply().bulk(request.get(1).unwrap_or_default());
    Flow::Done
}

pub(super) fn select(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let Some(db) = request.get(1).and_then(parse_integer).filter(|db| i32::try_from(*db).is_ok()) else {
        return context.not_an_integer();
    };
    if context.topology.is_some() && db != 0 {
        return context.error("ERR SELECT is not allowed in cluster mode");
    }
    match usize::try_from(db).ok().filter(|db| *db < context.shared.settings.databases) {
        Some(db) => {
            context.session.db = db;
            context.ok()
        }
        None => context.error("ERR DB index is out of range"),
    }
}

pub(super) fn quit(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    context.reply().ok();
    Flow::Close
}

pub(super) fn reset(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let needs_password = context.shared.settings.password.is_some();
    context.session.reset(needs_password);
    context.reply().simple("RESET");
    Flow::Done
}

pub(super) fn readonly(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    context.session.reads_from_replicas = true;
    context.ok()
}

pub(super) fn readwrite(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    context.session.reads_from_replicas = false;
    context.ok()
}

/// Slots never move while they are served, so nobody is sent here by ASK.
pub(super) fn asking(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    context.ok()
}

pub(super) fn time(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let mut reply = context.reply();
    reply.array(2);
    reply.bulk(now.as_secs().to_string().as_bytes());
    reply.bulk(now.subsec_micros().to_string().as_bytes());
    Flow::Done
}

/// No write can be waiting for a replica.
pub(super) fn wait(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let numbers = request.from(1).iter().all(|argument| parse_integer(argument).is_some());
    if numbers { context.integer(0) } else { context.not_an_integer() }
}

pub(super) fn lastsave(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let started = context.shared.started_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    context.integer(i64::try_from(started.as_secs()).unwrap_or(i64::MAX))
}
