//! Whether rules compile, found out in a process of its own.
//!
//! libyara is C, and what it compiles was written by whoever may create a YaraRuleset. A text that crashes it, or keeps
//! it busy for ever, costs that check and not the operator.

use std::{
    io::{Read as _, Write as _, stdin, stdout},
    path::PathBuf,
    process::{ExitCode, Stdio},
    time::Duration,
};

use rules::{LoadedSource, Problem};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
    sync::Semaphore,
    time::timeout,
};
use types::RulesetSource;

/// What the program is called with to be the child.
pub const CHILD_ARGUMENT: &str = "check-rules";
/// Ten thousand rules take seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Each check keeps up to two cores busy and takes some hundred megabytes for very large rulesets.
const AT_A_TIME: usize = 2;
/// More than what [`rules::MAX_PROBLEMS`] problems come to.
const MAX_ANSWER: u64 = 4 << 20;

/// What the compiler says. Rules with problems are not to be used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Verdict {
    pub(crate) warnings: Vec<Problem>,
    pub(crate) problems: Vec<Problem>,
}

/// Why nobody knows whether the rules compile.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to start the rules' compiler")]
    Start(#[source] std::io::Error),
    #[error("failed to talk to the rules' compiler")]
    Talk(#[source] std::io::Error),
    #[error("the compiler's answer makes no sense")]
    Answer(#[source] serde_json::Error),
    /// These rules are to blame, as far as anybody can tell.
    #[error("the compiler died on these rules ({how})")]
    Died { how: String },
    #[error("the compiler was not done with these rules after {} s", .after.as_secs())]
    TooSlow { after: Duration },
}

impl Error {
    /// Whether the compiler crashed.
    pub(crate) fn is_death(&self) -> bool {
        matches!(self, Self::Died { .. })
    }

    /// Whether the rules themselves are the cause, so that trying again will not help.
    pub(crate) fn blames_rules(&self) -> bool {
        match self {
            Self::Died { .. } | Self::TooSlow { .. } => true,
            Self::Start(_) | Self::Talk(_) | Self::Answer(_) => false,
        }
    }
}

/// Checks rules, a few at a time.
#[derive(Debug)]
pub struct Checker {
    program: PathBuf,
    permits: Semaphore,
}

impl Checker {
    /// `program` is this one; it is started with [`CHILD_ARGUMENT`].
    pub fn new(program: PathBuf) -> Self {
        Self { program, permits: Semaphore::new(AT_A_TIME) }
    }

    pub(crate) async fn check(&self, sources: &[RulesetSource]) -> Result<Verdict, Error> {
        self.check_within(PATIENCE, sources).await
    }

    /// Waiting for other checks counts as well.
    pub(crate) async fn check_within(&self, patience: Duration, sources: &[RulesetSource]) -> Result<Verdict, Error> {
        let checked = timeout(patience, async {
            let _permit = self.permits.acquire().await.expect("the semaphore is never closed");
            self.ask_child(sources).await
        });
        checked.await.unwrap_or(Err(Error::TooSlow { after: patience }))
    }

    async fn ask_child(&self, sources: &[RulesetSource]) -> Result<Verdict, Error> {
        let question = serde_json::to_vec(sources).expect("strings are always JSON");
        let mut child = Command::new(&self.program)
            .arg(CHILD_ARGUMENT)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::Start)?;
        let mut to_child = child.stdin.take().expect("stdin was piped");
        let from_child = child.stdout.take().expect("stdout was piped");
        let mut answer = Vec::new();
        // A child that dies early closes its end: how it died says more than the broken pipe.
        let told = async {
            let _ = to_child.write_all(&question).await;
            drop(to_child);
        };
        let heard = async { from_child.take(MAX_ANSWER).read_to_end(&mut answer).await };
        let ((), heard) = tokio::join!(told, heard);
        let status = child.wait().await.map_err(Error::Talk)?;
        heard.map_err(Error::Talk)?;
        if !status.success() {
            return Err(Error::Died { how: status.to_string() });
        }
        serde_json::from_slice(&answer).map_err(Error::Answer)
    }
}

/// The child: sources as JSON on standard input, the verdict as JSON on standard output.
pub fn child() -> ExitCode {
    let mut question = Vec::new();
    if stdin().read_to_end(&mut question).is_err() {
        return ExitCode::FAILURE;
    }
    let Ok(sources) = serde_json::from_slice::<Vec<RulesetSource>>(&question) else { return ExitCode::FAILURE };
    let answer = serde_json::to_vec(&verdict(&sources)).expect("strings and numbers are always JSON");
    match stdout().write_all(&answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn verdict(sources: &[RulesetSource]) -> Verdict {
    let loaded: Vec<_> = sources.iter().map(LoadedSource::plain).collect();
    match engine::check(&loaded) {
        Ok(warnings) => Verdict { warnings, problems: Vec::new() },
        Err(all) => {
            let (problems, warnings) = all.into_iter().partition(|problem| problem.severity == rules::Severity::Error);
            Verdict { warnings, problems }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> RulesetSource {
        RulesetSource { namespace: "web".into(), text: text.into() }
    }

    #[test]
    fn a_mistake_is_found_at_its_place() {
        let verdict = verdict(&[source("rule a {\n  condition: nonsense\n}")]);
        let problem = &verdict.problems[0];
        assert_eq!((problem.file.as_str(), problem.line, problem.column), ("web.yar", 2, 14), "{problem:?}");
    }

    #[test]
    fn good_rules_have_no_problems() {
        assert_eq!(verdict(&[source("rule a { condition: true }")]).problems, []);
    }

    #[tokio::test]
    async fn a_compiler_that_dies_is_told_from_one_that_is_missing() {
        let died = Checker::new("/bin/false".into()).check(&[source("x")]).await.unwrap_err();
        assert!(matches!(died, Error::Died { .. }) && died.blames_rules(), "{died}");
        let missing = Checker::new("/no/such/program".into()).check(&[source("x")]).await.unwrap_err();
        assert!(matches!(missing, Error::Start(_)) && !missing.blames_rules(), "{missing}");
    }
}
