//! CLIENT TRACKING: caches on the client's side. A dataset's version never changes, so the only thing ever told is "drop all",
//! when another version is served.

use resp::{Request, parse_integer};

use super::{Flow, Tracking, executor::Context};

/// Prefixes are taken down to be told back, nothing else.
const MOST_PREFIXES: usize = 64;

pub(super) fn tracking(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let mut wanted = Tracking::default();
    let mut options = request.from(3).iter();
    while let Some(option) = options.next() {
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"redirect") && options.len() >= 1 {
            // Messages by way of another connection need subscriptions, which there are none of.
            match options.next().and_then(parse_integer) {
                Some(0) => {}
                Some(_) => return context.error("ERR The client ID you want redirect to does not exist"),
                None => return context.not_an_integer(),
            }
        } else if is(b"bcast") {
            wanted.broadcast = true;
        } else if is(b"optin") {
            wanted.opt_in = true;
        } else if is(b"optout") {
            wanted.opt_out = true;
        } else if is(b"noloop") {
            wanted.no_loop = true;
        } else if is(b"prefix") && options.len() >= 1 {
            wanted.prefixes.extend(options.next().map(<[u8]>::to_vec));
        } else {
            return context.syntax_error();
        }
    }
    let word = request.get(2).unwrap_or_default();
    if word.eq_ignore_ascii_case(b"off") {
        context.session.tracking = None;
        return context.ok();
    }
    if !word.eq_ignore_ascii_case(b"on") {
        return context.syntax_error();
    }
    if let Some(text) = contradiction(&wanted, context.session.tracking.as_ref()) {
        return context.error(text);
    }
    if wanted.broadcast && wanted.prefixes.is_empty() {
        wanted.prefixes.push(Vec::new());
    }
    context.session.tracking = Some(wanted);
    context.ok()
}

fn contradiction(wanted: &Tracking, current: Option<&Tracking>) -> Option<&'static str> {
    if !wanted.broadcast && !wanted.prefixes.is_empty() {
        return Some("ERR PREFIX option requires BCAST mode to be enabled");
    }
    if wanted.prefixes.len() > MOST_PREFIXES {
        return Some("ERR too many prefixes");
    }
    if current.is_some_and(|current| current.broadcast != wanted.broadcast) {
        return Some(
            "ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then re-enabling it with a different mode.",
        );
    }
    if wanted.broadcast && (wanted.opt_in || wanted.opt_out) {
        return Some("ERR OPTIN and OPTOUT are not compatible with BCAST");
    }
    if wanted.opt_in && wanted.opt_out {
        return Some("ERR You can't use both OPTIN and OPTOUT");
    }
    let other_mode = |current: &&Tracking| (wanted.opt_in && current.opt_out) || (wanted.opt_out && current.opt_in);
    if current.filter(other_mode).is_some() {
        return Some(
            "ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then re-enabling it with a different mode.",
        );
    }
    None
}

pub(super) fn caching(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let Some(tracking) = &mut context.session.tracking else {
        return context.error(
            "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
        );
    };
    let word = request.get(2).unwrap_or_default();
    let yes = word.eq_ignore_ascii_case(b"yes");
    if !yes && !word.eq_ignore_ascii_case(b"no") {
        return context.syntax_error();
    }
    match (yes, tracking.opt_in, tracking.opt_out) {
        (true, true, _) | (false, _, true) => {
            tracking.caching = Some(yes);
            context.ok()
        }
        (true, ..) => context.error("ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode."),
        (false, ..) => context.error("ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode."),
    }
}

pub(super) fn getredir(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let redirect = if context.session.tracking.is_some() { 0 } else { -1 };
    context.integer(redirect)
}

pub(super) fn trackinginfo(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let tracking = context.session.tracking.clone();
    let mut flags = Vec::new();
    match &tracking {
        None => flags.push("off"),
        Some(tracking) => {
            flags.push("on");
            flags.extend(tracking.broadcast.then_some("bcast"));
            flags.extend(tracking.opt_in.then_some("optin"));
            flags.extend((tracking.opt_in && tracking.caching == Some(true)).then_some("caching-yes"));
            flags.extend(tracking.opt_out.then_some("optout"));
            flags.extend((tracking.opt_out && tracking.caching == Some(false)).then_some("caching-no"));
            flags.extend(tracking.no_loop.then_some("noloop"));
        }
    }
    let mut reply = context.reply();
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(flags.len());
    for flag in flags {
        reply.bulk(flag.as_bytes());
    }
    reply.bulk(b"redirect");
    reply.integer(if tracking.is_some() { 0 } else { -1 });
    reply.bulk(b"prefixes");
    let prefixes = tracking.map_or_else(Vec::new, |tracking| tracking.prefixes);
    reply.array(prefixes.len());
    for prefix in prefixes {
        reply.bulk(&prefix);
    }
    Flow::Done
}
