//! How every Dragnet process speaks to its operator: log lines on standard error, an exit code, a version.
//!
//! Those that do not mind the code also send their spans to a collector: feature `traces`, `init_traced`.
//!
//! Deliberately not here: which events matter. A component logs its own, with fields; this crate only decides what passes the
//! filter and how a line looks. Standard output belongs to a program's answer, so nothing here writes to it.

mod args;
mod build;
mod chain;
#[cfg(feature = "traces")]
mod traced;

pub use args::{Args, Filter, Format};
pub use build::build_info;
#[cfg(feature = "traces")]
pub use traced::{Traced, init_traced};

use std::error::Error;
use std::io::{IsTerminal, stderr};
use std::process::ExitCode;

use tracing::{Subscriber, error};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use crate::chain::Chain;

/// What a process that gave up returns. A supervisor reads them: `USAGE` says that a restart will not help.
pub mod exit {
    /// Something failed while running; starting again may help.
    pub const FAILURE: u8 = 1;
    /// The command line or the configuration is wrong. 64 is `EX_USAGE` of BSD's `sysexits.h`.
    pub const USAGE: u8 = 64;
}

/// Proof that logging is set up, held by `main` to report what ended the process.
#[derive(Debug)]
#[must_use = "a process reports its fatal error through this"]
pub struct Telemetry {
    _private: (),
}

/// Sends this process's log lines to standard error as `args` asks.
///
/// The first call of a process wins: tests run several components in one process, and each may call this.
pub fn init(args: &Args) -> Telemetry {
    let already_set = match args.format(stderr().is_terminal()) {
        Format::Text => text(args.log.to_env_filter(), colours(), stderr).try_init(),
        Format::Json => json(args.log.to_env_filter(), stderr).try_init(),
    }
    .is_err();
    Telemetry::after(already_set)
}

fn colours() -> bool {
    stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

impl Telemetry {
    fn after(already_set: bool) -> Self {
        if already_set {
            tracing::debug!("logging was set up before; keeping the first set-up");
        }
        Self { _private: () }
    }

    /// Logs `error` with all its causes on one line, as "a: b: c", and turns `code` into the process's exit code.
    ///
    /// For whoever stops the error, usually `main`: everyone below passes it on without logging.
    pub fn fail(&self, code: u8, error: &dyn Error) -> ExitCode {
        error!(exit_code = code, "{}", Chain(error));
        ExitCode::from(code)
    }
}

fn text<W>(filter: EnvFilter, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(writer).finish()
}

fn json<W>(filter: EnvFilter, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // One flat object a line: log collectors index top-level fields without being taught our nesting.
    tracing_subscriber::fmt().json().flatten_event(true).with_env_filter(filter).with_writer(writer).finish()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn text_lines_have_fields_and_no_colours_when_asked() {
        let output = Output::default();
        let subscriber = text(filter("info"), false, output.writer());
        tracing::subscriber::with_default(subscriber, || tracing::warn!(lease = 7, "lease expired"));

        let line = output.taken();
        assert!(line.contains("WARN") && line.contains("lease expired") && line.contains("lease=7"), "{line}");
        assert!(!line.contains('\u{1b}'), "{line:?}");
    }

    #[test]
    fn json_lines_are_flat_objects() {
        let output = Output::default();
        let subscriber = json(filter("info"), output.writer());
        tracing::subscriber::with_default(subscriber, || tracing::info!(lease = 7, "lease granted"));

        let line = output.taken();
        assert!(line.starts_with('{') && line.ends_with("}\n"), "{line}");
        assert!(line.contains(r#""message":"lease granted""#) && line.contains(r#""lease":7"#), "{line}");
        assert!(!line.contains(r#""fields""#), "{line}");
    }

    #[test]
    fn lines_below_the_filter_do_not_appear() {
        let output = Output::default();
        let subscriber = text(filter("warn,telemetry::tests=error"), false, output.writer());
        tracing::subscriber::with_default(subscriber, || tracing::warn!("hidden"));

        assert_eq!(output.taken(), "");
    }

    #[test]
    fn a_fatal_error_is_logged_once_with_its_causes() {
        let output = Output::default();
        let subscriber = text(filter("info"), false, output.writer());
        let error = std::io::Error::other("disk on fire");
        tracing::subscriber::with_default(subscriber, || Telemetry { _private: () }.fail(exit::FAILURE, &error));

        let lines = output.taken();
        assert_eq!(lines.lines().count(), 1, "{lines}");
        assert!(lines.contains("disk on fire"), "{lines}");
    }

    fn filter(directives: &str) -> EnvFilter {
        directives.parse::<Filter>().unwrap().to_env_filter()
    }

    /// Where a test's log lines go.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Output {
        fn writer(&self) -> impl for<'a> MakeWriter<'a> + Send + Sync + 'static {
            let output = self.clone();
            move || output.clone()
        }

        fn taken(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
}
