//! Who is connected: what CLIENT LIST tells, readable from every thread.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use crate::command;

/// One connection. Written by the thread that serves it, with plain stores; read by whoever lists.
#[derive(Debug)]
pub struct Client {
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    pub(crate) local: SocketAddr,
    connected_at: u64,
    pub(crate) descriptor: i32,
    /// Unix time of its last command.
    active_at: AtomicU64,
    db: AtomicU32,
    last_command: AtomicU32,
    resp3: AtomicBool,
    words: Mutex<Words>,
}

/// What it calls itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Words {
    pub(crate) name: Vec<u8>,
    pub(crate) library: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
}

const NO_COMMAND: u32 = u32::MAX;

impl Client {
    pub(crate) fn words(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn reset(&self) {
        self.words().name.clear();
        self.db.store(0, Ordering::Relaxed);
        self.resp3.store(false, Ordering::Relaxed);
    }

    pub(crate) fn saw(&self, command: usize, db: usize, resp3: bool, now: u64) {
        self.last_command.store(u32::try_from(command).unwrap_or(NO_COMMAND), Ordering::Relaxed);
        self.db.store(u32::try_from(db).unwrap_or(0), Ordering::Relaxed);
        self.resp3.store(resp3, Ordering::Relaxed);
        self.active_at.store(now, Ordering::Relaxed);
    }

    /// One line of CLIENT LIST, in the order of Redis 7.
    pub(crate) fn line(&self) -> Vec<u8> {
        let now = unix_seconds();
        let words = self.words().clone();
        let last = self.last_command.load(Ordering::Relaxed);
        let names = command::names();
        let last = usize::try_from(last).ok().and_then(|last| names.get(last)).copied().unwrap_or("NULL");
        let age = now.saturating_sub(self.connected_at);
        let idle = now.saturating_sub(self.active_at.load(Ordering::Relaxed));
        let Self { id, address, local, descriptor, .. } = self;
        let db = self.db.load(Ordering::Relaxed);
        let resp = if self.resp3.load(Ordering::Relaxed) { 3 } else { 2 };
        let mut line = format!("id={id} addr={address} laddr={local} fd={descriptor} name=").into_bytes();
        line.extend_from_slice(&words.name);
        line.extend_from_slice(
            format!(
                " age={age} idle={idle} flags=N db={db} sub=0 psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=0 argv-mem=0 \
                 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={last} user=default redir=-1 \
                 resp={resp} lib-name="
            )
            .as_bytes(),
        );
        line.extend_from_slice(&words.library);
        line.extend_from_slice(b" lib-ver=");
        line.extend_from_slice(&words.library_version);
        line
    }
}

/// All connections by id.
#[derive(Debug, Default)]
pub struct Clients {
    next_id: AtomicU64,
    connected: Mutex<BTreeMap<u64, Arc<Client>>>,
}

impl Clients {
    pub(crate) fn connect(&self, address: SocketAddr, local: SocketAddr, descriptor: i32) -> Arc<Client> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed) + 1;
        let now = unix_seconds();
        let client = Arc::new(Client {
            id,
            address,
            local,
            connected_at: now,
            descriptor,
            active_at: AtomicU64::new(now),
            db: AtomicU32::new(0),
            last_command: AtomicU32::new(NO_COMMAND),
            resp3: AtomicBool::new(false),
            words: Mutex::new(Words::default()),
        });
        self.lock().insert(id, client.clone());
        client
    }

    pub(crate) fn disconnect(&self, client: &Client) {
        self.lock().remove(&client.id);
    }

    pub fn count(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.connected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
