//! A hunt under way: what most stories begin with.

use anyhow::{Result, ensure};

use crate::scene::{Scene, check_receipts, number};
use testcluster::parts::{CLUSTER, RULES, corpora, orchestrator, ruleset, workers, write_corpus};

pub(crate) struct Hunt {
    pub(crate) files: u64,
    pub(crate) marked: u64,
}

/// How large things are.
pub(crate) struct Size {
    pub(crate) members: u32,
    pub(crate) workers: u32,
    pub(crate) files: u32,
    pub(crate) kilobytes: usize,
}

/// A rule that matches nothing and takes its time with every file: what goes wrong meanwhile goes wrong in the middle of a sweep.
pub(crate) const SLOW: &str = "\nrule slow { condition: for any i in (1..100000) : (i == 0) }\n";

/// Waits until files are owed to a version of `marks`, and says that they are right now.
pub(crate) fn is_under_way(scene: &Scene<'_>, version: u64) -> Result<()> {
    scene.until("a sweep is under way", 60, || {
        let ruleset = scene.kubectl().get("yararuleset", "marks")?;
        let is_newest = number(&ruleset, "/status/version") == version;
        Ok((is_newest && number(&ruleset, "/status/filesOwed") > 0).then_some(()))
    })
}

/// Uploads files and starts a cell with a corpus and the ruleset `marks`; returns when the members and workers are ready.
pub(crate) fn begin(scene: &Scene<'_>, size: &Size) -> Result<Hunt> {
    begin_unattended(scene, size)?;
    scene.until_ready("orchestrator", CLUSTER, 120)?;
    scene.until_ready("scanworker", CLUSTER, 60)?;
    Ok(Hunt::of(size))
}

/// The same without waiting for anything.
pub(crate) fn begin_unattended(scene: &Scene<'_>, size: &Size) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let marked = write_corpus(folder.path(), size.files, size.kilobytes)?;
    ensure!(u64::from(marked) == Hunt::of(size).marked, "{marked} files were marked");
    scene.upload(folder.path())?;
    let members = orchestrator(scene.namespace(), size.members, "");
    scene.apply(&[members, workers(size.workers), corpora(scene.namespace()), ruleset("marks", RULES)].join("---\n"))
}

impl Hunt {
    /// Every tenth file is marked, the first one among them.
    pub(crate) fn of(size: &Size) -> Self {
        Self { files: u64::from(size.files), marked: u64::from(size.files.div_ceil(10)) }
    }

    /// Waits until every file has its answer, and checks that the sums are right and nothing was found twice.
    pub(crate) fn is_complete(&self, scene: &Scene<'_>, seconds: u64) -> Result<()> {
        scene.until("every file is stored and has an answer", seconds, || {
            check_receipts(&scene.dragnet(&["receipt", "marks"])?, self.files).map(Some)
        })?;
        scene.until_condition("yararuleset", "marks", "Complete", "True", 60)?;
        let findings = scene.dragnet(&["findings", "--ruleset", "marks", "--rule", "marked"])?;
        ensure!(findings.len() as u64 == self.marked, "{} of {} marked files were found", findings.len(), self.marked);
        Ok(())
    }
}
