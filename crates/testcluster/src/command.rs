//! Running programs: what they print is kept, how they fail is told with the command that failed.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// Runs to the end; standard output on success, else an error with the command and what it complained of.
///
/// # Errors
/// When it cannot be started or ends with another code than 0.
pub fn run(command: Command, input: Option<&str>) -> Result<String> {
    let shown = shown(&command);
    let output = output(command, input)?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("`{shown}` ended with {}: {}{}", output.status, printed.trim_end(), complaint.trim_end());
    }
    Ok(printed)
}

/// Runs to the end with `input` on standard input, whatever the exit code.
///
/// # Errors
/// When it cannot be started.
pub fn output(mut command: Command, input: Option<&str>) -> Result<Output> {
    let shown = shown(&command);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("failed to start `{shown}`"))?;
    if let (Some(input), Some(mut pipe)) = (input, child.stdin.take()) {
        // Programs here read all of their input before they print more than a pipe holds. One that ended early says why itself.
        drop(pipe.write_all(input.as_bytes()));
    }
    child.wait_with_output().with_context(|| format!("failed to wait for `{shown}`"))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let mut shown = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    // A script on the command line is no help in a report.
    if let Some((end, _)) = shown.char_indices().nth(600) {
        shown.truncate(end);
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_command_and_its_complaint() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no luck >&2; exit 3"]);
        let error = run(command, None).unwrap_err().to_string();
        assert!(error.contains("sh -c") && error.contains("no luck"), "{error}");
    }

    #[test]
    fn input_is_read_and_output_is_returned() {
        assert_eq!(run(Command::new("cat"), Some("fish")).unwrap(), "fish");
    }
}
