//! One server: its connection, its breaker, and batches of keys asked of it.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, IntoConnectionInfo as _, Pipeline, RedisConnectionInfo, RedisError,
    ServerError, ServerErrorKind, Value, aio::MultiplexedConnection,
};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::{Breaker, Permit, Reason, Version, dataset::Settings};

/// A batch is asked anew when the version changed under it. A switch takes a moment: twice in a row is chance enough.
const MOST_TRIES: u32 = 3;

pub(crate) struct Node {
    settings: Arc<Settings>,
    server: Arc<str>,
    client: Client,
    breaker: Mutex<Breaker>,
    /// Time zero of the breaker.
    born: Instant,
    connection: Mutex<Option<Connection>>,
    /// Held while connecting, so that many lookups make one connection.
    connecting: tokio::sync::Mutex<()>,
    connections: AtomicU64,
    /// False once this connection's server has said that it does not know `KV.VERSION`.
    tells_version: AtomicBool,
}

#[derive(Clone)]
struct Connection {
    number: u64,
    redis: MultiplexedConnection,
}

/// What a server says about some keys.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) version: Version,
    /// One per key, in the order of the keys.
    pub(crate) told: Vec<Told>,
}

#[derive(Clone, Debug)]
pub(crate) enum Told {
    Found(Vec<u8>),
    Missing,
    /// Another server has the key's slot.
    Moved,
    Refused(Reason),
}

impl Node {
    /// Does not connect yet.
    pub(crate) fn new(settings: Arc<Settings>, server: Arc<str>) -> Result<Self, RedisError> {
        let (host, port) = server.rsplit_once(':').unwrap_or((&server, ""));
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = ConnectionAddr::Tcp(host.to_owned(), port.parse().unwrap_or(6379));
        let mut redis = RedisConnectionInfo::default().set_db(settings.database.into()).set_skip_set_lib_name();
        if let Some(user) = &settings.user {
            redis = redis.set_username(user);
        }
        if let Some(password) = &settings.password {
            redis = redis.set_password(password);
        }
        let client = Client::open(address.into_connection_info()?.set_redis_settings(redis))?;
        Ok(Self {
            breaker: Mutex::new(Breaker::new(settings.breaker)),
            settings,
            server,
            client,
            born: Instant::now(),
            connection: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
            connections: AtomicU64::new(0),
            tells_version: AtomicBool::new(true),
        })
    }

    /// Asks for keys in groups that may stand together in one command each.
    ///
    /// Errors: why no key has an answer. Each try takes the deadline at most.
    pub(crate) async fn ask(&self, groups: &[Vec<&[u8]>]) -> Result<Batch, Reason> {
        let mut tries = 0;
        loop {
            tries += 1;
            let asks_version = self.tells_version.load(Ordering::Relaxed);
            let values = self.call(&self.commands(groups, asks_version)).await?;
            let (versions, values) = if asks_version { brackets(values) } else { (None, values) };
            let mut told = self.read(groups, values);
            let Some((before, after)) = versions else { return Ok(Batch { version: None, told }) };
            let (before, version) = (self.version(before), self.version(after));
            if before != version && tries < MOST_TRIES {
                continue; // switched in between: nobody can say which version answered
            }
            if version.is_none() && self.tells_version.load(Ordering::Relaxed) {
                self.doubt(&mut told);
            }
            return Ok(Batch { version, told });
        }
    }

    /// A server that knows of versions and has none of this dataset cannot say that a key is missing from it.
    fn doubt(&self, told: &mut [Told]) {
        let what = format!("it serves no version of {}", self.settings.name);
        let none = Told::Refused(Reason::Refused { server: Arc::clone(&self.server), what });
        told.iter_mut().filter(|told| matches!(told, Told::Missing)).for_each(|told| told.clone_from(&none));
    }

    /// The answer to `CLUSTER SLOTS`.
    pub(crate) async fn slots(&self) -> Result<Value, Reason> {
        let mut commands = Pipeline::new();
        commands.cmd("CLUSTER").arg("SLOTS");
        Ok(self.call(&commands).await?.pop().unwrap_or_default())
    }

    fn commands(&self, groups: &[Vec<&[u8]>], asks_version: bool) -> Pipeline {
        let mut commands = Pipeline::with_capacity(groups.len() + 2);
        let ask_version = |commands: &mut Pipeline| {
            if asks_version {
                commands.cmd("KV.VERSION").arg(self.settings.name.as_str());
            }
        };
        ask_version(&mut commands);
        for group in groups {
            commands.cmd("MGET").arg(group.as_slice());
        }
        ask_version(&mut commands);
        commands
    }

    fn version(&self, told: Value) -> Version {
        match told {
            Value::ServerError(error) => {
                let unknown = error.details().is_some_and(|text| text.to_lowercase().contains("unknown command"));
                if unknown {
                    self.tells_version.store(false, Ordering::Relaxed);
                }
                None
            }
            told => text(&told).filter(|version| !version.is_empty()).map(Into::into),
        }
    }

    fn read(&self, groups: &[Vec<&[u8]>], values: Vec<Value>) -> Vec<Told> {
        let mut told = Vec::new();
        let mut values = values.into_iter();
        for group in groups {
            match values.next() {
                Some(Value::Array(found)) if found.len() == group.len() => {
                    told.extend(found.into_iter().map(|value| self.one(value)));
                }
                Some(other) => told.extend(std::iter::repeat_n(self.one(other), group.len())),
                None => told.extend(std::iter::repeat_n(self.nonsense(), group.len())),
            }
        }
        told
    }

    fn one(&self, value: Value) -> Told {
        match value {
            Value::Nil => Told::Missing,
            Value::BulkString(value) => Told::Found(value),
            Value::SimpleString(value) => Told::Found(value.into_bytes()),
            Value::ServerError(error) if error.kind() == Some(ServerErrorKind::Moved) => Told::Moved,
            Value::ServerError(error) => Told::Refused(self.refused(&error)),
            _ => self.nonsense(),
        }
    }

    fn nonsense(&self) -> Told {
        Told::Refused(Reason::Refused {
            server: Arc::clone(&self.server),
            what: "an answer of another kind".to_owned(),
        })
    }

    fn refused(&self, error: &ServerError) -> Reason {
        let what = format!("{} {}", error.code(), error.details().unwrap_or_default());
        Reason::Refused { server: Arc::clone(&self.server), what: what.trim_end().chars().take(200).collect() }
    }

    /// Sends commands and waits for their answers within the deadline, if the breaker allows, and tells it how that went.
    async fn call(&self, commands: &Pipeline) -> Result<Vec<Value>, Reason> {
        let permit = self.lock_breaker().permit(self.born.elapsed());
        let Some(permit) = permit else { return Err(Reason::LeftAlone { server: Arc::clone(&self.server) }) };
        let mut held = Held { node: self, permit: Some(permit) };
        let used = AtomicU64::new(0);
        let deadline = self.settings.deadline;
        let result = match timeout(deadline, self.send(commands, &used)).await {
            Ok(result) => result,
            Err(_) => {
                // What hangs may hang for ever; the next one starts anew.
                self.forget(used.load(Ordering::Relaxed));
                Err(Reason::TimedOut { server: Arc::clone(&self.server), deadline })
            }
        };
        let result = result.and_then(|values| match all_refused(&values) {
            Some(error) => Err(self.refused(error)),
            None => Ok(values),
        });
        held.settle(result.as_ref().err());
        result
    }

    /// One more time when a connection that was open turns out to be closed: servers close what is idle.
    async fn send(&self, commands: &Pipeline, used: &AtomicU64) -> Result<Vec<Value>, Reason> {
        loop {
            let (mut connection, fresh) = self.connection().await.map_err(|error| self.disconnected(&error))?;
            used.store(connection.number, Ordering::Relaxed);
            match connection.redis.send_packed_commands(commands, 0, commands.len()).await {
                Ok(values) => return Ok(values),
                Err(error) => {
                    self.forget(connection.number);
                    if fresh || !error.is_io_error() {
                        return Err(self.disconnected(&error));
                    }
                }
            }
        }
    }

    fn disconnected(&self, error: &RedisError) -> Reason {
        let server = Arc::clone(&self.server);
        let what = error.to_string().chars().take(200).collect();
        // A refused log-in comes as an error of the connection, too.
        if error.is_io_error() || error.code().is_none() {
            Reason::Disconnected { server, what }
        } else {
            Reason::Refused { server, what }
        }
    }

    /// The open connection, or a new one; true: it is new.
    async fn connection(&self) -> Result<(Connection, bool), RedisError> {
        if let Some(connection) = &*self.lock_connection() {
            return Ok((connection.clone(), false));
        }
        let _alone = self.connecting.lock().await;
        if let Some(connection) = &*self.lock_connection() {
            return Ok((connection.clone(), true));
        }
        // Time is the deadline's to keep.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let redis = Box::pin(self.client.get_multiplexed_async_connection_with_config(&config)).await?;
        let number = self.connections.fetch_add(1, Ordering::Relaxed) + 1;
        let connection = Connection { number, redis };
        self.tells_version.store(true, Ordering::Relaxed);
        *self.lock_connection() = Some(connection.clone());
        Ok((connection, true))
    }

    /// Does away with a connection, unless a newer one has taken its place.
    fn forget(&self, number: u64) {
        let mut connection = self.lock_connection();
        if connection.as_ref().is_some_and(|connection| connection.number == number) {
            *connection = None;
        }
    }

    fn lock_connection(&self) -> MutexGuard<'_, Option<Connection>> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit that is given back however the call ends.
struct Held<'n> {
    node: &'n Node,
    permit: Option<Permit>,
}

impl Held<'_> {
    fn settle(&mut self, failure: Option<&Reason>) {
        let Some(permit) = self.permit.take() else { return };
        let Node { settings, server, breaker, born, .. } = self.node;
        let mut breaker = breaker.lock().unwrap_or_else(PoisonError::into_inner);
        let dataset = &settings.name;
        match failure {
            Some(reason) if breaker.failed(permit, born.elapsed()) => {
                warn!(%dataset, %server, %reason, cool_down = ?settings.breaker.cool_down, "a dataset's server is left alone");
                settings.metrics.server(dataset, server, true);
            }
            Some(_) => {}
            None if breaker.succeeded(permit) => {
                info!(%dataset, %server, "a dataset's server answers again");
                settings.metrics.server(dataset, server, false);
            }
            None => {}
        }
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.node.lock_breaker().abandoned(permit);
        }
    }
}

/// The first and the last value, and those between.
fn brackets(mut values: Vec<Value>) -> (Option<(Value, Value)>, Vec<Value>) {
    if values.len() < 2 {
        return (None, values);
    }
    let before = values.remove(0);
    let after = values.pop().unwrap_or_default();
    (Some((before, after)), values)
}

/// An error, if there is nothing but errors that no other server would spare us: that of the keys in the middle, since
/// `KV.VERSION` around them is unknown to most servers.
fn all_refused(values: &[Value]) -> Option<&ServerError> {
    let told = refusal(values.get(values.len() / 2)?)?;
    values.iter().all(|value| refusal(value).is_some()).then_some(told)
}

fn refusal(value: &Value) -> Option<&ServerError> {
    match value {
        Value::ServerError(error) if error.kind() != Some(ServerErrorKind::Moved) => Some(error),
        _ => None,
    }
}

/// The version in an answer to `KV.VERSION`.
fn text(told: &Value) -> Option<String> {
    match told {
        Value::BulkString(text) => String::from_utf8(text.clone()).ok(),
        Value::SimpleString(text) => Some(text.clone()),
        _ => None,
    }
}
