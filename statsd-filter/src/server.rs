//! The process: opens sockets, starts threads, reloads on SIGHUP, ends on SIGTERM.

use std::error::Error as StdError;
use std::io::{self, PipeWriter};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use tracing::{info, warn};

use crate::config::{self, Config, Fixed, Listen, Settings};
use crate::http::Http;
use crate::listener::{self, Listener};
use crate::metrics::{Counters, Metrics};
use crate::resolver::{Resolver, resolve};
use crate::shared::{Current, Destination, Shared};
use crate::worker::{self, Worker};

/// Enough for the arrays of a batch, twenty times over. Untouched pages cost nothing, but the default is 2 MiB of them a thread.
const STACK_BYTES: usize = 256 << 10;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Config(#[from] config::Error),
    #[error(transparent)]
    Listen(#[from] listener::Error),
    #[error("failed to serve metrics on {address}")]
    Metrics { address: SocketAddr, source: io::Error },
    #[error("failed to block signals")]
    Signals(#[source] Errno),
    #[error("failed to start a thread")]
    Start(#[source] io::Error),
    #[error("a worker ended")]
    Worker(#[from] worker::Error),
    #[error("the metrics endpoint ended")]
    Http(#[source] io::Error),
    #[error("a thread panicked")]
    Panicked,
}

/// A server whose sockets are open.
#[derive(Debug)]
pub struct Server {
    settings: Settings,
    fixed: Fixed,
    /// Where we listen in fact: port 0 has become one that was free.
    listen: Vec<Listen>,
    listeners: Vec<Listener>,
    metrics_listener: Option<TcpListener>,
    metrics: Arc<Metrics>,
    shared: Arc<Shared>,
    signals: SigSet,
}

enum Event {
    Signal(Signal),
    ThreadEnded,
}

impl Server {
    pub fn bind(settings: Settings, config: Config) -> Result<Self, Error> {
        // Before anyone can know that we are here; threads inherit it, so that only one of them is told.
        let signals: SigSet = [Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
        signals.thread_block().map_err(Error::Signals)?;
        let Config { fixed, target, policy, pack } = config;
        let (mut listen, mut listeners) = (Vec::new(), Vec::new());
        for place in &fixed.listen {
            let (place, opened) = Listener::bind(place, fixed.multi_thread, fixed.receive_buffer_bytes)?;
            info!(address = %place, threads = opened.len(), "listening");
            listen.push(place);
            listeners.extend(opened);
        }
        let metrics_listener = fixed.metrics_listen.map(bind_metrics).transpose()?;
        let destination = first_destination(&target, &listen)?;
        info!(%target, rules = policy.rules.len(), dry_run = policy.dry_run, "forwarding");
        let workers = listeners.iter().map(|_| Arc::<Counters>::default()).collect();
        let metrics = Arc::new(Metrics { workers, ..Metrics::default() });
        let shared = Arc::new(Shared::new(Current { policy: Arc::new(policy), pack, target, destination }));
        Ok(Self { settings, fixed, listen, listeners, metrics_listener, metrics, shared, signals })
    }

    /// Runs until SIGTERM or SIGINT, then forwards what has arrived, or until a thread ends on its own, which is an error.
    pub fn run(mut self) -> Result<(), Error> {
        let (events, inbox) = mpsc::channel();
        let (stop_reader, stop) = io::pipe().map_err(Error::Start)?;
        let mut threads = Vec::new();
        for (listener, counters) in self.listeners.drain(..).zip(&self.metrics.workers) {
            let (shared, counters) = (self.shared.clone(), counters.clone());
            let stop = stop_reader.try_clone().map_err(Error::Start)?;
            let worker = Worker { listener, shared, counters, stop };
            threads.push(start("worker", &events, move || worker.run().map_err(Error::from))?);
        }
        if let Some(listener) = self.metrics_listener.take() {
            let (shared, metrics) = (self.shared.clone(), self.metrics.clone());
            let http = Http { listener, shared, metrics, stop: stop_reader };
            threads.push(start("metrics", &events, move || http.run().map_err(Error::Http))?);
        }
        let (shared, metrics) = (self.shared.clone(), self.metrics.clone());
        let resolver = Resolver { shared, metrics, listen: self.listen.clone(), interval: self.fixed.resolve_interval };
        threads.push(start("resolver", &events, move || {
            resolver.run();
            Ok(())
        })?);
        watch_signals(self.signals, events)?;
        self.act_on(&inbox);
        self.end(threads, stop)
    }

    /// Returns when it is time to end.
    fn act_on(&self, events: &Receiver<Event>) {
        while let Ok(event) = events.recv() {
            match event {
                Event::Signal(Signal::SIGHUP) => self.reload(),
                Event::Signal(signal) => {
                    info!(signal = signal.as_str(), "stopping");
                    return;
                }
                Event::ThreadEnded => return,
            }
        }
    }

    fn reload(&self) {
        match self.try_reload() {
            Ok(rules) => {
                self.metrics.reloads.applied.fetch_add(1, Ordering::Relaxed);
                info!(rules, "configuration applied");
            }
            Err(reason) => {
                self.metrics.reloads.refused.fetch_add(1, Ordering::Relaxed);
                warn!(%reason, "configuration refused, the old one stays");
            }
        }
    }

    fn try_reload(&self) -> Result<usize, String> {
        let Config { fixed, target, policy, pack } = Config::load(&self.settings).map_err(|error| chain(&error))?;
        if fixed != self.fixed {
            let name = fixed.first_difference(&self.fixed);
            return Err(format!("{name} cannot change while sockets are open; restart to apply it"));
        }
        let before = self.shared.current();
        let destination = match resolve(&target, before.destination.as_ref(), &self.listen) {
            Ok(destination) => Some(destination),
            Err(error) if target != before.target => return Err(format!("the target {target}: {error}")),
            Err(_name_server_is_away) => before.destination,
        };
        let rules = policy.rules.len();
        self.shared.replace(Current { policy: Arc::new(policy), pack, target, destination });
        Ok(rules)
    }

    fn end(self, threads: Vec<JoinHandle<Result<(), Error>>>, stop: PipeWriter) -> Result<(), Error> {
        self.shared.stop();
        drop(stop); // wakes every thread that polls
        let outcomes: Vec<_> =
            threads.into_iter().map(|thread| thread.join().unwrap_or(Err(Error::Panicked))).collect();
        outcomes.into_iter().collect()
    }
}

fn bind_metrics(address: SocketAddr) -> Result<TcpListener, Error> {
    let metrics_error = |source| Error::Metrics { address, source };
    let listener = TcpListener::bind(address).map_err(metrics_error)?;
    let address = listener.local_addr().map_err(metrics_error)?;
    info!(%address, "metrics");
    Ok(listener)
}

/// A name that cannot be looked up yet is no reason not to start: agents may come up after us. A loop is one.
fn first_destination(target: &config::Target, listen: &[Listen]) -> Result<Option<Destination>, Error> {
    match resolve(target, None, listen) {
        Ok(destination) => Ok(Some(destination)),
        Err(error) => match error.downcast::<config::Error>() {
            Ok(is_a_loop) => Err(Error::Config(*is_a_loop)),
            Err(error) => {
                warn!(%target, %error, "the target's name leads nowhere yet");
                Ok(None)
            }
        },
    }
}

/// Starts a thread that says so when it ends, however it ends.
fn start<F>(name: &str, events: &Sender<Event>, work: F) -> Result<JoinHandle<Result<(), Error>>, Error>
where
    F: FnOnce() -> Result<(), Error> + Send + 'static,
{
    struct SayEnded(Sender<Event>);
    impl Drop for SayEnded {
        fn drop(&mut self) {
            let _nobody_listens_in_the_end = self.0.send(Event::ThreadEnded);
        }
    }
    let say_ended = SayEnded(events.clone());
    let named = thread::Builder::new().name(name.to_owned()).stack_size(STACK_BYTES);
    let started = named.spawn(move || {
        let _say_ended = say_ended;
        work()
    });
    started.map_err(Error::Start)
}

/// Not joined: it waits for signals until the process is gone.
fn watch_signals(signals: SigSet, events: Sender<Event>) -> Result<(), Error> {
    let named = thread::Builder::new().name("signals".to_owned()).stack_size(STACK_BYTES);
    let watching = named.spawn(move || {
        while let Ok(signal) = signals.wait() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    watching.map(drop).map_err(Error::Start)
}

fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
