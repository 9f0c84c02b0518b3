//! HELLO and AUTH: which protocol, and who.

use resp::{Protocol, Request, parse_integer};

use super::{Flow, client, executor::Context};
use crate::shared::REDIS_VERSION;

const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";
const NOT_AUTHENTICATED: &str = "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time";
const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";
/// There is one user, as in a Redis without access lists.
const USER: &[u8] = b"default";

pub(super) fn hello(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let protocol = match request.get(1).map(parse_integer) {
        None => None,
        Some(Some(2)) => Some(Protocol::Resp2),
        Some(Some(3)) => Some(Protocol::Resp3),
        Some(Some(_)) => return context.error("NOPROTO unsupported protocol version"),
        Some(None) => return context.error("ERR Protocol version is not an integer or out of range"),
    };
    let (mut login, mut name) = (None, None);
    let mut options = request.from(2).iter();
    while let Some(option) = options.next() {
        if option.eq_ignore_ascii_case(b"AUTH") && options.len() >= 2 {
            login = options.next().zip(options.next());
        } else if option.eq_ignore_ascii_case(b"SETNAME") && options.len() >= 1 {
            name = options.next();
        } else {
            let text = option.split(|byte| *byte == 0).next().unwrap_or_default(); // redis prints it as C does
            return context.error([b"ERR Syntax error in HELLO option '", text, b"'"].concat());
        }
    }
    if let Some((user, password)) = login
        && !accepts(context, user, password)
    {
        return context.error(WRONG_PASSWORD);
    }
    context.session.authenticated |= login.is_some();
    if !context.session.authenticated {
        return context.error(NOT_AUTHENTICATED);
    }
    if let Some(name) = name {
        if let Err(text) = client::check_word("Client names", name) {
            return context.error(text);
        }
        context.session.client.words().name = name.to_vec();
    }
    if let Some(protocol) = protocol {
        context.session.protocol = protocol;
    }
    answer(context);
    Flow::Done
}

fn answer(context: &mut Context<'_>) {
    let id = context.session.client.id;
    let mode = if context.topology.is_some() { "cluster" } else { "standalone" };
    let role = if context.topology.is_some_and(|topology| topology.is_replica()) { "replica" } else { "master" };
    let mut reply = context.reply();
    let protocol = if reply.protocol() == Protocol::Resp3 { 3 } else { 2 };
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(protocol);
    reply.bulk(b"id");
    reply.unsigned(id);
    reply.bulk(b"mode");
    reply.bulk(mode.as_bytes());
    reply.bulk(b"role");
    reply.bulk(role.as_bytes());
    reply.bulk(b"modules");
    reply.array(0);
}

pub(super) fn auth(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let (user, password) = match (request.len(), request.get(1), request.get(2)) {
        (2, Some(password), _) if context.shared.settings.password.is_some() => (USER, password),
        (2, ..) => return context.error(NO_PASSWORD_SET),
        (3, Some(user), Some(password)) => (user, password),
        _more => return context.syntax_error(),
    };
    if !accepts(context, user, password) {
        return context.error(WRONG_PASSWORD);
    }
    context.session.authenticated = true;
    context.ok()
}

/// Without a password any will do, as for Redis's default user.
fn accepts(context: &Context<'_>, user: &[u8], password: &[u8]) -> bool {
    let right = context.shared.settings.password.as_ref().is_none_or(|right| right.is(password));
    context.stats.wrong_passwords.add(u64::from(!right));
    right && user == USER
}
