//! What the filter runs with: file, variables and flags together, checked.

mod args;
mod file;

pub use args::{Args, Command, Settings};

use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use crate::filter::Policy;
use crate::rules::{Allowed, Patterns, PrefixListError, Rules};
use file::File;

/// What clients of DogStatsD put into one datagram: it fits an Ethernet frame, with room for headers and a tunnel's.
const MAX_DATAGRAM_BYTES_UDP: usize = 1432;
/// What agents read at once by default, and so what clients send over a Unix socket.
const MAX_DATAGRAM_BYTES_UNIX: usize = 8192;
/// The same: of a longer line the agent would read a part.
const MAX_LINE_BYTES: usize = 8192;
/// The most that UDP over IPv4 carries.
pub const LARGEST_DATAGRAM_BYTES: usize = 65_507;
const PACK_DELAY: Duration = Duration::from_millis(1);
/// Longer, and an agent's own timestamps would be off.
const LONGEST_PACK_DELAY: Duration = Duration::from_secs(1);
/// 5,000 small datagrams as the kernel accounts them: 10 ms of what one core can send.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;
/// Shorter than the time to live that Kubernetes gives its names.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
const LISTEN_HOST: &str = "127.0.0.1";
const LISTEN_PORT: u16 = 8125;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    File(#[from] file::Error),
    #[error("no target: set target_host and target_port, or target_socket")]
    NoTarget,
    #[error("target_host and target_port belong together")]
    HalfTarget,
    #[error("both target_socket and target_host are set: there is one target")]
    TwoTargets,
    #[error("{name} is {value}; it must lie between {least} and {most}")]
    OutOfRange { name: &'static str, value: u64, least: u64, most: u64 },
    #[error("the allow list is empty, which would drop everything")]
    AllowsNothing,
    #[error("a prefix given by flag is refused")]
    Prefix(#[from] PrefixListError),
    #[error("failed to compile {list}")]
    Patterns { list: &'static str, source: Box<regex::Error> },
    #[error("failed to look up listen_host {host}")]
    ListenHost { host: String, source: io::Error },
    #[error("listen_host {host} has no address")]
    NoListenAddress { host: String },
    #[error("the target {target} is where the filter itself listens: lines would go round for ever")]
    Loop { target: SocketAddr },
}

/// All of it.
#[derive(Debug)]
pub struct Config {
    pub fixed: Fixed,
    pub target: Target,
    pub policy: Policy,
    pub pack: Pack,
}

/// What cannot change while sockets stay open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fixed {
    pub listen: Vec<Listen>,
    pub multi_thread: bool,
    pub receive_buffer_bytes: usize,
    pub resolve_interval: Duration,
    pub metrics_listen: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    Udp(SocketAddr),
    Unix(PathBuf),
}

/// Where lines go, as it was written: a name may lead to another address tomorrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Udp { host: String, port: u16 },
    Unix(PathBuf),
}

/// How lines are joined into datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pack {
    pub max_datagram_bytes: usize,
    /// How long a line may wait for others. Zero: not at all.
    pub delay: Duration,
}

impl Config {
    /// Reads the file, if one is named, and puts variables and flags over it.
    pub fn load(settings: &Settings) -> Result<Self, Error> {
        let file = settings.config.as_deref().map(File::read).transpose()?.unwrap_or_default();
        Self::from_parts(file, settings.clone())
    }

    fn from_parts(file: File, settings: Settings) -> Result<Self, Error> {
        let target = target(&file, &settings)?;
        let fixed = Fixed {
            listen: listen(&file, &settings)?,
            multi_thread: settings.multi_thread.or(file.multi_thread).unwrap_or(false),
            receive_buffer_bytes: in_range(
                "receive_buffer_bytes",
                settings.receive_buffer_bytes.or(file.receive_buffer_bytes).unwrap_or(RECEIVE_BUFFER_BYTES),
                4096..=1 << 30,
            )?,
            resolve_interval: duration(
                "resolve_interval_ms",
                settings.resolve_interval_ms.or(file.resolve_interval_ms),
                RESOLVE_INTERVAL,
                Duration::from_millis,
                10..=86_400_000,
            )?,
            metrics_listen: settings.metrics_listen.or(file.metrics_listen),
        };
        let pack = pack(&file, &settings, &target)?;
        let max_line_bytes = settings.max_line_bytes.or(file.max_line_bytes).unwrap_or(MAX_LINE_BYTES);
        let max_line_bytes = in_range("max_line_bytes", max_line_bytes, 1..=LARGEST_DATAGRAM_BYTES)?;
        let dry_run = settings.dry_run.or(file.dry_run).unwrap_or(false);
        let join_datagrams = !pack.delay.is_zero();
        let policy = Policy { rules: rules(file, &settings)?, dry_run, max_line_bytes, join_datagrams };
        Ok(Self { fixed, target, policy, pack })
    }
}

impl Fixed {
    /// The first field in which `self` differs from `other`, by its name in the file.
    pub(crate) fn first_difference(&self, other: &Self) -> &'static str {
        let Self { listen, multi_thread, receive_buffer_bytes, resolve_interval, metrics_listen } = self;
        let differences = [
            ("listen_host, listen_port or listen_socket", *listen != other.listen),
            ("multi_thread", *multi_thread != other.multi_thread),
            ("receive_buffer_bytes", *receive_buffer_bytes != other.receive_buffer_bytes),
            ("resolve_interval_ms", *resolve_interval != other.resolve_interval),
            ("metrics_listen", *metrics_listen != other.metrics_listen),
        ];
        differences.iter().find(|(_, differs)| *differs).map_or("nothing", |(name, _)| name)
    }
}

impl Target {
    /// Where the name leads now: one address or several. Blocks for as long as the system's resolver does.
    pub fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((without_brackets(host), port).to_socket_addrs()?.collect())
    }

    /// Refuses a target that is one of the places where we listen.
    pub fn check(address: SocketAddr, listen: &[Listen]) -> Result<(), Error> {
        let is_ours = |listen: &Listen| match listen {
            Listen::Udp(ours) => {
                let anywhere =
                    ours.ip().is_unspecified() && (address.ip().is_loopback() || address.ip().is_unspecified());
                ours.port() == address.port() && (ours.ip() == address.ip() || anywhere)
            }
            Listen::Unix(_) => false,
        };
        if listen.iter().any(is_ours) { Err(Error::Loop { target: address }) } else { Ok(()) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp { host, port } if host.contains(':') => write!(f, "[{}]:{port}", without_brackets(host)),
            Self::Udp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn target(file: &File, settings: &Settings) -> Result<Target, Error> {
    let by_flag = (settings.target_socket.as_ref(), settings.target_host.as_ref(), settings.target_port);
    let by_file = (file.target_socket.as_ref(), file.target_host.as_ref(), file.target_port);
    // Who names a target by flag means that one, whichever kind the file names; half an address is completed from the file.
    let (socket, host, port) = match by_flag {
        (None, None, None) => by_file,
        (None, host, port) => (None, host.or(by_file.1), port.or(by_file.2)),
        (Some(_), ..) => by_flag,
    };
    match (socket, host, port) {
        (Some(path), None, None) => Ok(Target::Unix(path.clone())),
        (Some(_), ..) => Err(Error::TwoTargets),
        (None, Some(host), Some(port)) if port > 0 => Ok(Target::Udp { host: host.clone(), port }),
        (None, None, None) => Err(Error::NoTarget),
        (None, ..) => Err(Error::HalfTarget),
    }
}

fn listen(file: &File, settings: &Settings) -> Result<Vec<Listen>, Error> {
    let host = settings.listen_host.as_ref().or(file.listen_host.as_ref());
    let port = settings.listen_port.or(file.listen_port);
    let socket = settings.listen_socket.as_ref().or(file.listen_socket.as_ref());
    let mut listen = Vec::new();
    if socket.is_none() || host.is_some() || port.is_some() {
        let host = host.map_or(LISTEN_HOST, String::as_str);
        let addresses = (without_brackets(host), port.unwrap_or(LISTEN_PORT)).to_socket_addrs();
        let mut addresses = addresses.map_err(|source| Error::ListenHost { host: host.to_owned(), source })?;
        let first = addresses.next().ok_or_else(|| Error::NoListenAddress { host: host.to_owned() })?;
        listen.push(Listen::Udp(first));
    }
    listen.extend(socket.cloned().map(Listen::Unix));
    Ok(listen)
}

fn pack(file: &File, settings: &Settings, target: &Target) -> Result<Pack, Error> {
    let usual = match target {
        Target::Udp { .. } => MAX_DATAGRAM_BYTES_UDP,
        Target::Unix(_) => MAX_DATAGRAM_BYTES_UNIX,
    };
    let max_datagram_bytes = settings.max_datagram_bytes.or(file.max_datagram_bytes).unwrap_or(usual);
    let delay = settings.pack_delay_us.or(file.pack_delay_us);
    let longest = u64::try_from(LONGEST_PACK_DELAY.as_micros()).expect("a second has 10^6");
    Ok(Pack {
        max_datagram_bytes: in_range("max_datagram_bytes", max_datagram_bytes, 1..=LARGEST_DATAGRAM_BYTES)?,
        delay: duration("pack_delay_us", delay, PACK_DELAY, Duration::from_micros, 0..=longest)?,
    })
}

fn rules(mut file: File, settings: &Settings) -> Result<Rules, Error> {
    let mut blocked = std::mem::take(&mut file.metric_blocklist);
    settings.block.iter().try_for_each(|prefix| blocked.push(prefix))?;
    let blocked_patterns = patterns("metric_blocklist_regex", &file.metric_blocklist_regex.0)?;

    let has_allow_list =
        file.metric_allowlist.is_some() || file.metric_allowlist_regex.is_some() || !settings.allow.is_empty();
    let mut allowed = file.metric_allowlist.take().unwrap_or_default();
    settings.allow.iter().try_for_each(|prefix| allowed.push(prefix))?;
    let allowed_patterns = file.metric_allowlist_regex.take().unwrap_or_default();
    if has_allow_list && allowed.is_empty() && allowed_patterns.0.is_empty() {
        return Err(Error::AllowsNothing);
    }
    let allowed_patterns = patterns("metric_allowlist_regex", &allowed_patterns.0)?;
    let allowed = has_allow_list.then(|| Allowed { prefixes: allowed.compile(), patterns: allowed_patterns });
    Ok(Rules::new(blocked, blocked_patterns, allowed))
}

fn patterns(list: &'static str, patterns: &[String]) -> Result<Patterns, Error> {
    Patterns::new(patterns.iter().map(String::as_str))
        .map_err(|source| Error::Patterns { list, source: Box::new(source) })
}

fn in_range(name: &'static str, value: usize, range: std::ops::RangeInclusive<usize>) -> Result<usize, Error> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(Error::OutOfRange { name, value: value as u64, least: *range.start() as u64, most: *range.end() as u64 })
}

fn duration(
    name: &'static str,
    value: Option<u64>,
    usual: Duration,
    unit: fn(u64) -> Duration,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Duration, Error> {
    match value {
        None => Ok(usual),
        Some(value) if range.contains(&value) => Ok(unit(value)),
        Some(value) => Err(Error::OutOfRange { name, value, least: *range.start(), most: *range.end() }),
    }
}

/// `[::1]` is how people write an IPv6 address beside a port.
fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}
