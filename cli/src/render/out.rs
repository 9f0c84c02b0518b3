//! Standard output that may be closed by its reader at any time.

use std::{
    fmt::{self, Display},
    io::{BufWriter, ErrorKind, IsTerminal, Stdout, Write, stdout},
};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// The reader of standard output went away, as `head` does when it has seen enough.
#[derive(Debug)]
pub struct Closed;

impl Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed by its reader")
    }
}

impl std::error::Error for Closed {}

/// Where answers go: tables for people, or with `--json` one object per line.
#[derive(Debug)]
pub struct Out {
    stdout: BufWriter<Stdout>,
    json: bool,
    terminal: bool,
}

impl Out {
    pub fn new(json: bool) -> Self {
        Self { stdout: BufWriter::new(stdout()), json, terminal: stdout().is_terminal() }
    }

    /// The user asked for NDJSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Someone watches; bars may be drawn and colours used.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    pub fn line(&mut self, text: impl Display) -> Result<()> {
        let written = writeln!(self.stdout, "{text}");
        written.map_err(closed)
    }

    pub fn object(&mut self, object: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(object).context("failed to write an answer as JSON")?;
        self.line(text)
    }

    /// Bytes as they are, for text that ends its own lines.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stdout.write_all(bytes).map_err(closed)
    }

    /// Called before waiting for anything, so that what is known is seen.
    pub fn flush(&mut self) -> Result<()> {
        self.stdout.flush().map_err(closed)
    }
}

fn closed(error: std::io::Error) -> anyhow::Error {
    match error.kind() {
        ErrorKind::BrokenPipe => Closed.into(),
        _ => anyhow::Error::new(error).context("failed to write to standard output"),
    }
}
