use std::collections::{BTreeMap, BTreeSet};

use protocol::v1::{self, worker_message::Message};
use types::{LeaseId, SessionId};

/// What the session owes and is owed, whatever stream it runs over.
#[derive(Debug)]
pub(super) struct Ledger {
    worker: String,
    /// Jobs in flight, at most.
    capacity: u32,
    session: Option<SessionId>,
    holding: BTreeSet<LeaseId>,
    unanswered: BTreeMap<u64, Message>,
    last_request: u64,
    draining: bool,
}

/// What a request that the log has to answer says.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Settle { lease: LeaseId, results: Vec<v1::RulesetResult> },
    Append { lease: LeaseId, segments: Vec<v1::Segment>, gone: Vec<v1::SegmentFiles> },
    SettleListing { lease: LeaseId, result: v1::settle_listing::Result },
}

impl Ledger {
    pub(super) fn new(worker: String, capacity: u32) -> Self {
        Self {
            worker,
            capacity,
            session: None,
            holding: BTreeSet::new(),
            unanswered: BTreeMap::new(),
            last_request: 0,
            draining: false,
        }
    }

    /// The first message of a stream.
    pub(super) fn hello(&self) -> Message {
        Message::Hello(v1::Hello {
            worker: self.worker.clone(),
            resume: self.session.map(Into::into),
            holding: self.holding.iter().map(|lease| (*lease).into()).collect(),
            program_version: telemetry::build_info().to_owned(),
        })
    }

    /// Takes the answer to the hello: everything unanswered again, then a request for as many jobs as fit.
    /// Credits belong to a stream: the leader may be another one, or have missed the last words of the old stream.
    /// True if the session is a new one.
    pub(super) fn welcome(&mut self, session: SessionId) -> (bool, Vec<Message>) {
        let is_new = self.session != Some(session);
        if is_new {
            self.forget_session();
            self.session = Some(session);
        }
        let mut messages: Vec<_> = self.unanswered.values().cloned().collect();
        let held = u32::try_from(self.holding.len()).unwrap_or(u32::MAX);
        let jobs = self.capacity.saturating_sub(held);
        if !self.draining && jobs > 0 {
            messages.push(Message::Ask(v1::Ask { jobs }));
        }
        (is_new, messages)
    }

    /// False: the lease came after the worker stopped asking; it is given back with the goodbye.
    pub(super) fn granted(&mut self, lease: LeaseId) -> bool {
        !self.draining && self.holding.insert(lease)
    }

    /// Numbers a request and keeps it until it is answered.
    pub(super) fn request(&mut self, request: Request) -> (u64, Message) {
        self.last_request += 1;
        let number = self.last_request;
        let ask = u32::from(!self.draining);
        let message = match request {
            Request::Settle { lease, results } => {
                Message::Settle(v1::Settle { request: number, lease: Some(lease.into()), results, ask })
            }
            Request::Append { lease, segments, gone } => Message::AppendSegments(v1::AppendSegments {
                request: number,
                lease: Some(lease.into()),
                segments,
                gone,
            }),
            Request::SettleListing { lease, result } => Message::SettleListing(v1::SettleListing {
                request: number,
                lease: Some(lease.into()),
                result: Some(result),
                ask,
            }),
        };
        self.unanswered.insert(number, message.clone());
        (number, message)
    }

    /// A settlement that was answered, either way, ends the lease.
    pub(super) fn answered(&mut self, request: u64) -> bool {
        let Some(message) = self.unanswered.remove(&request) else { return false };
        if let Message::Settle(v1::Settle { lease: Some(lease), .. })
        | Message::SettleListing(v1::SettleListing { lease: Some(lease), .. }) = message
        {
            self.holding.remove(&lease.into());
        }
        true
    }

    pub(super) fn session_ended(&mut self) {
        self.forget_session();
        self.session = None;
    }

    pub(super) fn drain(&mut self) {
        self.draining = true;
    }

    fn forget_session(&mut self) {
        self.holding.clear();
        self.unanswered.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: SessionId = SessionId { index: 5, slot: 0 };
    const SECOND: SessionId = SessionId { index: 9, slot: 0 };

    fn lease(index: u64) -> LeaseId {
        LeaseId { index, slot: 0 }
    }

    fn asked(messages: &[Message]) -> u32 {
        messages.iter().map(|message| if let Message::Ask(ask) = message { ask.jobs } else { 0 }).sum()
    }

    fn settle(ledger: &mut Ledger, index: u64) -> (u64, Message) {
        ledger.request(Request::Settle { lease: lease(index), results: Vec::new() })
    }

    #[test]
    fn a_resumed_stream_names_what_is_held_and_repeats_what_is_unanswered() {
        let mut ledger = Ledger::new("w".to_owned(), 3);
        assert_eq!(asked(&ledger.welcome(FIRST).1), 3);
        assert!(ledger.granted(lease(10)) && ledger.granted(lease(11)));
        let (_, sent) = settle(&mut ledger, 10);

        let Message::Hello(hello) = ledger.hello() else { panic!() };
        assert_eq!((hello.resume, hello.holding.len()), (Some(FIRST.into()), 2));
        let (is_new, messages) = ledger.welcome(FIRST);
        assert!(!is_new);
        assert_eq!(messages[0], sent);
        // One job is free; the settlement, when it is taken, asks for the second.
        assert_eq!(asked(&messages), 1);
    }

    #[test]
    fn another_session_forgets_the_leases_of_the_old_one() {
        let mut ledger = Ledger::new("w".to_owned(), 2);
        ledger.welcome(FIRST);
        ledger.granted(lease(10));
        let (number, _) = settle(&mut ledger, 10);
        let (is_new, messages) = ledger.welcome(SECOND);
        assert!(is_new);
        assert_eq!((messages.len(), asked(&messages)), (1, 2));
        assert!(!ledger.answered(number), "an answer to a forgotten request means nothing");
    }

    #[test]
    fn a_draining_worker_takes_and_asks_nothing() {
        let mut ledger = Ledger::new("w".to_owned(), 2);
        ledger.welcome(FIRST);
        ledger.granted(lease(10));
        ledger.drain();
        assert!(!ledger.granted(lease(11)));
        let (number, message) = settle(&mut ledger, 10);
        assert!(matches!(message, Message::Settle(v1::Settle { ask: 0, .. })));
        assert!(ledger.answered(number));
        assert!(ledger.welcome(FIRST).1.is_empty());
    }
}
