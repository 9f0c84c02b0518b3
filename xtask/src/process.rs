//! Running other programs: their output goes straight to ours, and a failure names the whole command.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// A program with its arguments, shown as one would type it.
pub(crate) struct Process {
    command: Command,
    shown: String,
}

/// The cargo that started us, or else the one on the path.
pub(crate) fn cargo(arguments: &[&str]) -> Process {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.args(arguments);
    Process { command, shown: format!("cargo {}", arguments.join(" ")) }
}

pub(crate) fn program(name: &str, arguments: &[&str]) -> Process {
    let mut command = Command::new(name);
    command.args(arguments);
    Process { command, shown: format!("{name} {}", arguments.join(" ")) }
}

impl Process {
    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self.shown = format!("{name}='{value}' {}", self.shown);
        self
    }

    /// Runs to the end with our own standard streams.
    pub(crate) fn run(mut self) -> Result<()> {
        self.announce();
        let status = self.command.status().with_context(|| format!("failed to start `{}`", self.shown))?;
        ensure!(status.success(), "`{}` ended with {status}", self.shown);
        Ok(())
    }

    /// Runs to the end; every line of its standard output is printed as it comes and handed to `see`.
    pub(crate) fn run_watching(mut self, mut see: impl FnMut(&str)) -> Result<()> {
        self.announce();
        let mut child =
            self.command.stdout(Stdio::piped()).spawn().with_context(|| format!("failed to start `{}`", self.shown))?;
        let mut output = BufReader::new(child.stdout.take().expect("piped above"));
        let mut line = Vec::new();
        // Bytes and not `lines()`: a test may print what is not UTF-8, and that must not end the run.
        while output.read_until(b'\n', &mut line).context("failed to read the output")? > 0 {
            std::io::stdout().write_all(&line).context("failed to print")?;
            see(String::from_utf8_lossy(&line).trim_end());
            line.clear();
        }
        let status = child.wait().with_context(|| format!("failed to wait for `{}`", self.shown))?;
        ensure!(status.success(), "`{}` ended with {status}", self.shown);
        Ok(())
    }

    /// Runs to the end; whether it succeeded, and its standard error, which is also printed line by line as it comes.
    pub(crate) fn run_keeping_output(mut self) -> Result<(bool, String)> {
        self.announce();
        let mut child =
            self.command.stderr(Stdio::piped()).spawn().with_context(|| format!("failed to start `{}`", self.shown))?;
        let mut output = String::new();
        for line in BufReader::new(child.stderr.take().expect("piped above")).split(b'\n') {
            let line = line.context("failed to read the output")?;
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            output.push_str(&line);
            output.push('\n');
        }
        let status = child.wait().with_context(|| format!("failed to wait for `{}`", self.shown))?;
        Ok((status.success(), output))
    }

    /// Runs to the end and returns its standard output; for programs whose answer we read.
    pub(crate) fn output(mut self) -> Result<Vec<u8>> {
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("failed to start `{}`", self.shown))?;
        ensure!(output.status.success(), "`{}` ended with {}", self.shown, output.status);
        Ok(output.stdout)
    }

    /// Runs to the end and returns what it complained of, or nothing when it succeeded.
    pub(crate) fn complaint(mut self) -> Result<Option<String>> {
        let output = self.command.output().with_context(|| format!("failed to start `{}`", self.shown))?;
        let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok((!output.status.success()).then_some(complaint))
    }

    fn announce(&self) {
        eprintln!("$ {}", self.shown);
    }
}
