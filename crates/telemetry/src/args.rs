//! The logging flags that every process shares.

use std::fmt;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// Logging flags, for `#[command(flatten)]` in a program's own `Args`.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Logging")]
pub struct Args {
    /// What to log: a level, or directives such as `info,scan_worker=debug`
    #[arg(long, visible_alias = "log-level", env = "DRAGNET_LOG", value_name = "FILTER", default_value = Filter::DEFAULT)]
    #[arg(global = true)]
    pub log: Filter,

    /// How log lines look [default: text on a terminal, else json]
    #[arg(long, env = "DRAGNET_LOG_FORMAT", value_name = "FORMAT", global = true)]
    pub log_format: Option<Format>,
}

impl Args {
    /// What was asked for, else what suits whoever reads: a person at a terminal, or a collector.
    pub(crate) fn format(&self, terminal: bool) -> Format {
        self.log_format.unwrap_or(if terminal { Format::Text } else { Format::Json })
    }
}

impl Default for Args {
    fn default() -> Self {
        let log = Filter { directives: Filter::DEFAULT.to_owned() };
        Self { log, log_format: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// One line for people, with colours on a terminal
    Text,
    /// One JSON object a line, for log collectors
    Json,
}

/// Log directives that are known to parse, so that a typing mistake is a usage error and not a silent process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    directives: String,
}

impl Filter {
    /// openraft tells each vote at `info` and each failed step of replication at `warn`: more lines for one member that is
    /// down than for the life of all jobs together. What matters of it is told by the orchestrator itself.
    pub const DEFAULT: &'static str = "info,openraft=error";

    pub(crate) fn to_env_filter(&self) -> EnvFilter {
        self.directives.parse().expect("parsed once before, in from_str")
    }
}

impl FromStr for Filter {
    type Err = ParseError;

    fn from_str(directives: &str) -> Result<Self, ParseError> {
        directives.parse::<EnvFilter>()?;
        Ok(Self { directives: directives.to_owned() })
    }
}

/// The directives as written, so that a program can hand them to the processes it starts.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.directives)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        telemetry: Args,
    }

    #[test]
    fn the_default_is_one_that_parses() {
        let defaults = Args::default();
        assert_eq!(Filter::DEFAULT.parse::<Filter>().unwrap(), defaults.log);
    }

    #[test]
    fn both_spellings_of_the_flag_are_accepted() {
        for flag in ["--log", "--log-level"] {
            let program = Program::try_parse_from(["program", flag, "warn,openraft=trace"]).unwrap();
            assert_eq!(program.telemetry.log.to_string(), "warn,openraft=trace");
        }
    }

    #[test]
    fn a_mistyped_filter_is_refused_on_the_command_line() {
        assert!(Program::try_parse_from(["program", "--log", "scan_worker=loud"]).is_err());
    }

    #[test]
    fn json_is_chosen_by_name() {
        let program = Program::try_parse_from(["program", "--log-format", "json"]).unwrap();
        assert_eq!(program.telemetry.format(true), Format::Json);
        let program = Program::try_parse_from(["program", "--log-format", "text"]).unwrap();
        assert_eq!(program.telemetry.format(false), Format::Text);
    }

    #[test]
    fn people_read_text_and_collectors_json() {
        let defaults = Args::default();
        assert_eq!((defaults.format(true), defaults.format(false)), (Format::Text, Format::Json));
    }
}
