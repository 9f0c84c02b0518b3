//! Rendering charts as users do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use testcluster::{Place, must_not_skip};

use crate::objects::{Object, documents};

/// The program, and the checkout whose charts it renders.
#[derive(Clone, Debug)]
pub struct Helm {
    place: Place,
    program: PathBuf,
}

impl Helm {
    /// Helm, or `None` after saying that `test` is skipped.
    ///
    /// # Panics
    /// In continuous integration, which has to have it.
    #[must_use]
    pub fn or_skip(test: &str) -> Option<Self> {
        let found = Place::find().and_then(|place| {
            let program = place.program("helm")?;
            Ok(Self { place, program })
        });
        match found {
            Ok(helm) => Some(helm),
            Err(reason) => {
                assert!(!must_not_skip(), "{test} cannot run: {reason:#}");
                println!("skipped: {test}: {reason:#}");
                None
            }
        }
    }

    /// Where the checkout and the programs are.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What `helm template` makes of a chart, as release `dragnet` in namespace `dragnet-system`. `values` are as `--set` takes them.
    ///
    /// # Errors
    /// When helm refuses values or chart.
    pub fn template(&self, chart: &str, values: &[&str]) -> Result<Vec<Object>> {
        documents(&self.render(chart, values)?)
    }

    /// The same as text.
    ///
    /// # Errors
    /// When helm refuses values or chart.
    pub fn render(&self, chart: &str, values: &[&str]) -> Result<String> {
        let mut command = self.command(&["template", "dragnet"]);
        command.arg(self.chart(chart)).args(["--namespace", "dragnet-system", "--kube-version", "1.36.0"]);
        for value in values {
            command.args(["--set-json", value]);
        }
        testcluster::run(command, None)
    }

    /// What `helm lint --strict` prints.
    ///
    /// # Errors
    /// When it finds something.
    pub fn lint(&self, chart: &str) -> Result<String> {
        let mut command = self.command(&["lint", "--strict"]);
        command.arg(self.chart(chart));
        testcluster::run(command, None)
    }

    /// What a user reads after `helm install`.
    ///
    /// # Errors
    /// When helm refuses values or chart.
    pub fn notes(&self, chart: &str, values: &[&str]) -> Result<String> {
        let mut command = self.command(&["install", "dragnet", "--dry-run=client"]);
        command.arg(self.chart(chart)).args(["--namespace", "dragnet-system"]);
        for value in values {
            command.args(["--set-json", value]);
        }
        let printed = testcluster::run(command, None)?;
        let (_manifest, notes) = printed.split_once("\nNOTES:\n").context("helm printed no notes")?;
        Ok(notes.to_owned())
    }

    fn chart(&self, name: &str) -> PathBuf {
        self.place.repository().join("charts").join(name)
    }

    /// Without anything of the user's: no repositories, plugins or cluster.
    fn command(&self, arguments: &[&str]) -> Command {
        let nowhere = Path::new("/nonexistent");
        let mut command = Command::new(&self.program);
        command.args(arguments).env("KUBECONFIG", nowhere).env("HELM_NAMESPACE", "");
        command
    }
}
