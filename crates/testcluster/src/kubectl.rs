//! kubectl, bounded in time and with its answers as values.

use std::ffi::OsString;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::api_server::command_of;
use crate::command::{output, run};

/// No single call takes longer, lest a node that is gone holds up the test: `kubectl exec` has no time limit of its own.
const SECONDS_A_CALL: &str = "120";

/// kubectl for one cluster, and perhaps for one namespace.
#[derive(Clone, Debug)]
pub struct Kubectl {
    words: Vec<OsString>,
}

impl Kubectl {
    pub(crate) fn new(words: Vec<OsString>) -> Self {
        Self { words }
    }

    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Self {
        let mut words = self.words.clone();
        words.extend(["--namespace".into(), namespace.into()]);
        Self { words }
    }

    /// With the rights of another user and no others.
    #[must_use]
    pub fn as_user(&self, user: &str) -> Self {
        let mut words = self.words.clone();
        words.extend(["--as".into(), user.into()]);
        Self { words }
    }

    /// A command to be started by the caller; it has no time limit.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command_of(&self.words);
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs to the end and returns what it printed.
    ///
    /// # Errors
    /// When kubectl fails, with its complaint.
    pub fn run(&self, arguments: &[&str]) -> Result<String> {
        run(self.bounded(arguments), None)
    }

    /// Applies documents, on the server's side; what it printed.
    ///
    /// # Errors
    /// When the API server refuses one of them.
    pub fn apply(&self, documents: &str) -> Result<String> {
        // Strict, which a misspelt field of an example does not survive.
        let arguments = ["apply", "--server-side", "--force-conflicts", "--validate=strict", "-f", "-"];
        run(self.bounded(&arguments), Some(documents))
    }

    /// What the API server says against `documents`, which it has to refuse.
    ///
    /// # Errors
    /// When it accepts them.
    pub fn refusal(&self, documents: &str) -> Result<String> {
        let output =
            output(self.bounded(&["apply", "--server-side", "--force-conflicts", "-f", "-"]), Some(documents))?;
        ensure!(!output.status.success(), "this was to be refused and was accepted:\n{documents}");
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// One object.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn get(&self, kind: &str, name: &str) -> Result<Value> {
        self.try_get(kind, name)?.with_context(|| format!("there is no {kind} {name}"))
    }

    /// One object, or none.
    ///
    /// # Errors
    /// When the API server does not answer, or knows no such kind.
    pub fn try_get(&self, kind: &str, name: &str) -> Result<Option<Value>> {
        let printed = self.run(&["get", kind, name, "--ignore-not-found", "--output", "json"])?;
        if printed.trim().is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&printed).map(Some).context("kubectl printed no JSON")
    }

    /// All objects of a kind, or those with the labels of `selector`.
    ///
    /// # Errors
    /// When the API server does not answer, or knows no such kind.
    pub fn list(&self, kind: &str, selector: Option<&str>) -> Result<Vec<Value>> {
        let mut arguments = vec!["get", kind, "--output", "json"];
        arguments.extend(selector.iter().flat_map(|selector| ["--selector", selector]));
        let list: Value = serde_json::from_str(&self.run(&arguments)?).context("kubectl printed no JSON")?;
        match list {
            Value::Object(mut fields) => match fields.remove("items") {
                Some(Value::Array(items)) => Ok(items),
                _no_items => bail!("kubectl printed no list"),
            },
            _no_object => bail!("kubectl printed no list"),
        }
    }

    /// Changes some fields of an object, by a JSON merge patch.
    ///
    /// # Errors
    /// When the API server refuses.
    pub fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        self.run(&["patch", kind, name, "--type", "merge", "--patch", &patch.to_string()]).map(drop)
    }

    fn bounded(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", SECONDS_A_CALL]).args(&self.words).args(arguments);
        command
    }
}
