//! One child: started, watched, started again with growing pauses, stopped when told.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use telemetry::exit;
use tokio::{
    process::Child,
    sync::watch,
    time::{Instant, sleep, timeout},
};

use super::leash;

/// A log is set aside at the next start of its process when it is larger than this.
const MAX_LOG_BYTES: u64 = 16 << 20;
/// Of a log that explains a failure, the end is shown.
const TAIL_BYTES: u64 = 4096;
const TAIL_LINES: usize = 12;

/// A stop that takes longer says that it waits, or it would look stuck.
const QUIET: Duration = Duration::from_secs(1);

/// What a program's argument parser exits with, before the program has a say.
const CLAP_USAGE: i32 = 2;

/// What to run.
#[derive(Debug, Clone)]
pub(super) struct Spec {
    pub(super) name: String,
    pub(super) program: PathBuf,
    pub(super) args: Vec<OsString>,
    pub(super) log: PathBuf,
    /// From SIGTERM to SIGKILL.
    pub(super) patience: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Order {
    Run,
    /// Goes on, and is not started again should it end.
    Hold,
    /// SIGTERM, and SIGKILL when patience is over.
    Stop,
    /// SIGKILL at once.
    Kill,
}

/// Where one line about a process goes.
pub type Announce = Arc<dyn Fn(&str) + Send + Sync>;

/// Pauses between starts: 1 s, doubling to 30 s; a process that lived for a minute starts at 1 s again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct BackOff {
    last: Option<Duration>,
}

impl BackOff {
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(30);
    const HEALTHY: Duration = Duration::from_secs(60);

    fn after(&mut self, alive: Duration) -> Duration {
        let pause = match self.last {
            Some(last) if alive < Self::HEALTHY => (last * 2).min(Self::LONGEST),
            _ => Self::FIRST,
        };
        self.last = Some(pause);
        pause
    }
}

/// Keeps one process running until it is told to stop.
///
/// Errors: the program cannot be started at all, or says that its command line is wrong (exit code 64
/// or 2), which no restart mends.
pub(super) async fn keep_running(
    spec: Spec,
    mut orders: watch::Receiver<Order>,
    pid: watch::Sender<Option<u32>>,
    announce: Announce,
) -> Result<()> {
    let mut back_off = BackOff::default();
    loop {
        // Fails only when nobody is left who could give orders.
        let held = orders.wait_for(|order| *order != Order::Hold).await;
        if held.map_or(Order::Stop, |order| *order) >= Order::Stop {
            return Ok(());
        }
        let started = Instant::now();
        let mut child = start(&spec)?;
        pid.send_replace(child.id());
        let ended = tokio::select! {
            status = child.wait() => Some(status.with_context(|| format!("failed to wait for {}", spec.name))?),
            _ = orders.wait_for(|order| *order >= Order::Stop) => None,
        };
        let Some(status) = ended else {
            let stopped = stop(&spec, &mut child, &mut orders, &announce).await;
            pid.send_replace(None);
            return stopped;
        };
        pid.send_replace(None);
        if status.code().is_some_and(|code| code == i32::from(exit::USAGE) || code == CLAP_USAGE) {
            return Err(failure(&spec, "refuses its command line"));
        }
        let pause = back_off.after(started.elapsed());
        let next = match *orders.borrow() {
            Order::Hold => "as intended".to_owned(),
            Order::Run | Order::Stop | Order::Kill => format!("starting it again in {} s", pause.as_secs()),
        };
        announce(&format!("{} ended ({}), {next}; its log is {}", spec.name, how(status), spec.log.display()));
        tokio::select! {
            () = sleep(pause) => {}
            _ = orders.wait_for(|order| *order >= Order::Stop) => return Ok(()),
        }
    }
}

fn start(spec: &Spec) -> Result<Child> {
    let failed = || format!("failed to start {} ({})", spec.name, spec.program.display());
    let log = open_log(&spec.log).with_context(|| format!("failed to open {}", spec.log.display()))?;
    let err = log.try_clone().with_context(failed)?;
    leash::command(spec.program.as_os_str(), &spec.args)
        // Ctrl-C reaches a whole process group; only `up` may see it, as it stops the others in order.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(err)
        .kill_on_drop(true)
        // Files that people read, unless told otherwise.
        .env("DRAGNET_LOG_FORMAT", std::env::var_os("DRAGNET_LOG_FORMAT").unwrap_or_else(|| "text".into()))
        .spawn()
        .with_context(failed)
}

fn open_log(path: &Path) -> std::io::Result<File> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    File::options().append(true).create(true).open(path)
}

/// SIGTERM and a while to drain, then SIGKILL.
async fn stop(spec: &Spec, child: &mut Child, orders: &mut watch::Receiver<Order>, announce: &Announce) -> Result<()> {
    let name = &spec.name;
    // Not reaped yet, so the id is still this child's.
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // Fails only for a child that has ended meanwhile, and that is what the signal asks for.
        let _ = kill_process(pid, Signal::TERM);
    }
    let told_to_kill = async {
        // Fails when nobody is left who could give orders: then it is as if told to kill.
        let _ = orders.wait_for(|order| *order == Order::Kill).await;
    };
    let waited_for = async {
        sleep(QUIET).await;
        let left = spec.patience.saturating_sub(QUIET).as_secs();
        announce(&format!("{name} finishes what it has begun; waiting for it, at most {left} s more"));
        std::future::pending().await
    };
    tokio::select! {
        ended = timeout(spec.patience, child.wait()) => match ended {
            Ok(status) => {
                let status = status.with_context(|| format!("failed to wait for {name}"))?;
                if !status.success() && status.signal() != Some(Signal::TERM.as_raw()) {
                    announce(&format!("{name} stopped with {}; its log is {}", how(status), spec.log.display()));
                }
                return Ok(());
            }
            Err(_) => announce(&format!("{name} has not stopped within {} s, killing it", spec.patience.as_secs())),
        },
        () = told_to_kill => {}
        () = waited_for => {}
    }
    child.kill().await.with_context(|| format!("failed to kill {name}"))
}

fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// An error with the end of the process's log.
pub(super) fn failure(spec: &Spec, what: &str) -> anyhow::Error {
    let log = spec.log.display();
    let tail = tail(&spec.log).unwrap_or_default();
    match tail.is_empty() {
        true => anyhow!("{} {what}; its log {log} is empty", spec.name),
        false => anyhow!("{} {what}; its log {log} ends with\n{tail}", spec.name),
    }
}

/// The last lines of a log, indented.
fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    Ok(last.iter().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_start_over_after_a_healthy_minute() {
        let mut back_off = BackOff::default();
        let short = Duration::from_secs(2);
        let pauses: Vec<_> = (0..7).map(|_| back_off.after(short).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(back_off.after(Duration::from_secs(61)).as_secs(), 1);
    }

    #[test]
    fn the_end_of_a_log_explains() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("x.log");
        let lines: Vec<_> = (0..1000).map(|line| format!("line {line}")).collect();
        fs::write(&log, lines.join("\n")).unwrap();
        let tail = tail(&log).unwrap();
        assert_eq!(tail.lines().count(), TAIL_LINES);
        assert!(tail.ends_with("    line 999"), "{tail}");
    }
}
