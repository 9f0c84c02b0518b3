//! MULTI and EXEC: many clients wrap every pipeline in them. Nothing can change in between, so a transaction is a list of requests.

use resp::{Decoded, Decoder, Request};

use super::{Flow, executor::Context};

/// What may wait for EXEC: as many bytes as one request may have, so that a transaction costs no more than that.
const MOST_BYTES: usize = 16 << 20;

/// The requests since MULTI, as frames one after the other.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    frames: Vec<u8>,
    requests: usize,
    spoiled: bool,
}

impl Transaction {
    /// A request was refused: EXEC will refuse all.
    pub(super) fn spoil(&mut self) {
        self.spoiled = true;
    }
}

/// Whether a command in a transaction waits for EXEC.
pub(super) fn waits(command: &str) -> bool {
    !matches!(command, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

pub(super) fn queue(context: &mut Context<'_>, request: Request<'_>) -> Flow {
    let Some(transaction) = &mut context.session.transaction else { return Flow::Done };
    let bytes: usize = request.iter().map(|argument| argument.len() + 16).sum();
    if transaction.frames.len() + bytes > MOST_BYTES {
        transaction.spoil();
        return context.error("ERR too many bytes wait for EXEC");
    }
    resp::write_request(request.iter(), &mut transaction.frames);
    transaction.requests += 1;
    context.reply().simple("QUEUED");
    Flow::Done
}

pub(super) fn multi(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    if context.session.transaction.is_some() {
        return context.error("ERR MULTI calls can not be nested");
    }
    context.session.transaction = Some(Transaction::default());
    context.ok()
}

pub(super) fn discard(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    match context.session.transaction.take() {
        Some(_) => context.ok(),
        None => context.error("ERR DISCARD without MULTI"),
    }
}

/// Keys never change, so watching one takes no more than saying so.
pub(super) fn watch(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    match context.session.transaction.is_some() {
        true => context.error("ERR WATCH inside MULTI is not allowed"),
        false => context.ok(),
    }
}

pub(super) fn unwatch(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    context.ok()
}

pub(super) fn exec(context: &mut Context<'_>, _request: Request<'_>) -> Flow {
    let Some(transaction) = context.session.transaction.take() else {
        return context.error("ERR EXEC without MULTI");
    };
    if transaction.spoiled {
        return context.error("EXECABORT Transaction discarded because of previous errors.");
    }
    let before = context.out.len();
    context.reply().array(transaction.requests);
    let mut decoder = Decoder::default();
    let limits = context.shared.settings.limits(true);
    let mut rest = &transaction.frames[..];
    let mut flow = Flow::Done;
    while let Ok(Decoded::Request { request, consumed }) = decoder.decode(rest, &limits) {
        if context.out.len() - before > context.shared.settings.output_limit {
            return Flow::TooMuchOutput;
        }
        match context.carry_out(request) {
            Flow::Done => {}
            Flow::NeedsDisk => {
                flow = Flow::NeedsDisk;
                break;
            }
            ends => return ends,
        }
        rest = &rest[consumed..];
    }
    if flow == Flow::NeedsDisk {
        context.session.transaction = Some(transaction); // EXEC runs again, from its beginning
    }
    flow
}
