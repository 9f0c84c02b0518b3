//! What a connection has said about itself, and what its commands remember.

use std::{net::SocketAddr, sync::Arc};

use resp::{Protocol, Reply};

use super::transaction::Transaction;
use crate::clients::Client;

/// The state of one connection as far as commands know it. Moves with the connection to the read pool and back.
pub struct Session {
    pub(crate) client: Arc<Client>,
    pub(crate) local: SocketAddr,
    pub(crate) protocol: Protocol,
    pub(crate) authenticated: bool,
    pub(crate) db: usize,
    /// READONLY was said: a replica may answer.
    pub(crate) reads_from_replicas: bool,
    pub(crate) reply_mode: ReplyMode,
    pub(crate) tracking: Option<Tracking>,
    pub(crate) transaction: Option<Transaction>,
    pub(crate) no_evict: bool,
    pub(crate) no_touch: bool,
}

/// CLIENT REPLY.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReplyMode {
    #[default]
    On,
    Off,
    /// The next command's reply is left out.
    SkipNext,
}

/// CLIENT TRACKING: who may cache what it reads is told when a version is switched, since then all of it may be wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tracking {
    pub(crate) broadcast: bool,
    pub(crate) prefixes: Vec<Vec<u8>>,
    pub(crate) opt_in: bool,
    pub(crate) opt_out: bool,
    pub(crate) no_loop: bool,
    pub(crate) caching: Option<bool>,
}

impl Session {
    pub(crate) fn new(client: Arc<Client>, local: SocketAddr, needs_password: bool) -> Self {
        Self {
            client,
            local,
            protocol: Protocol::Resp2,
            authenticated: !needs_password,
            db: 0,
            reads_from_replicas: false,
            reply_mode: ReplyMode::On,
            tracking: None,
            transaction: None,
            no_evict: false,
            no_touch: false,
        }
    }

    /// RESET: as it was when it connected.
    pub(crate) fn reset(&mut self, needs_password: bool) {
        self.client.reset();
        *self = Self::new(self.client.clone(), self.local, needs_password);
    }

    /// Tells a peer that caches to drop all it has, if it could understand that.
    pub(crate) fn invalidate_all(&self, out: &mut Vec<u8>) {
        if self.tracking.is_some() && self.protocol == Protocol::Resp3 {
            let mut reply = Reply::new(out, self.protocol);
            reply.push(2);
            reply.bulk(b"invalidate");
            reply.null();
        }
    }
}
