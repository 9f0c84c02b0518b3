//! How a command that failed says so: `error: …`, its causes, what to do about it.

use std::{
    fmt::{self, Write as _},
    io::Write as _,
    process::ExitCode,
};

use protocol::client;
use telemetry::exit;

use crate::render::Closed;

/// The command line asks for something that cannot be; exits with 64.
#[derive(Debug)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// The reason has been shown already, in more detail than one line could.
#[derive(Debug)]
pub struct Shown;

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("see above")
    }
}

impl std::error::Error for Shown {}

/// Prints the error with its causes on standard error, and returns the exit code that goes with it.
///
/// A closed standard output (`dragnet findings | head`) is the reader's choice and no failure.
pub fn failure(error: &anyhow::Error) -> ExitCode {
    if error.is::<Closed>() {
        return ExitCode::SUCCESS;
    }
    if !error.is::<Shown>() {
        // When standard error is gone there is nobody left to tell.
        let _ = std::io::stderr().write_all(text(error).as_bytes());
    }
    let usage = error.chain().any(|cause| cause.is::<Usage>());
    ExitCode::from(if usage { exit::USAGE } else { exit::FAILURE })
}

/// The error's text as shown.
pub fn text(error: &anyhow::Error) -> String {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain() {
        let line = one_line(cause);
        // The transport wraps one error in several that say the same, or nothing.
        let says_more =
            !line.is_empty() && line != "transport error" && !lines.iter().any(|said| said.ends_with(&line));
        if says_more {
            lines.push(line);
        }
    }
    let mut text = String::new();
    for (depth, line) in lines.iter().enumerate() {
        let lead = if depth == 0 { "error" } else { "  because" };
        let _ = writeln!(text, "{lead}: {line}");
    }
    if let Some(help) = help(error) {
        let _ = writeln!(text, "   help: {help}");
    }
    text
}

/// A gRPC status prints its codes and metadata; people need its message.
fn one_line(cause: &(dyn std::error::Error + 'static)) -> String {
    let boxed = || cause.downcast_ref::<Box<tonic::Status>>().map(Box::as_ref);
    match cause.downcast_ref::<tonic::Status>().or_else(boxed) {
        Some(status) if status.message().is_empty() => status.code().description().to_owned(),
        Some(status) => status.message().to_owned(),
        None => cause.to_string(),
    }
}

fn help(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| match cause.downcast_ref::<client::Error>()? {
        client::Error::NoLeader { .. } => Some(
            "start a cluster on this machine with `dragnet up`, or name a running one with --cluster HOST:PORT or \
             DRAGNET_CLUSTER; `dragnet status` says which members answer",
        ),
        client::Error::Address { .. } => Some("addresses look like 127.0.0.1:7601, several are separated by commas"),
        client::Error::Refused(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_the_error_and_repetitions_are_left_out() {
        let error = anyhow::anyhow!("connection refused").context("transport: connection refused").context("no answer");
        assert_eq!(text(&error), "error: no answer\n  because: transport: connection refused\n");
    }

    #[test]
    fn a_cluster_that_is_not_there_comes_with_a_way_out() {
        let source = Box::new(tonic::Status::unavailable("connection refused"));
        let waited = std::time::Duration::from_secs(1);
        let error = client::Error::NoLeader { waited, addresses: "a:1".to_owned(), source };
        let text = text(&anyhow::Error::new(error));
        assert!(text.contains("dragnet up") && text.contains("because: connection refused"), "{text}");
        assert!(!text.contains("MetadataMap"), "{text}");
    }
}
