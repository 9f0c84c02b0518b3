//! `dragnet rules`: what to look for.

use std::{
    collections::BTreeSet,
    fs,
    io::{IsTerminal, Write as _, stderr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow};
use clap::Subcommand;
use protocol::v1;
use rules::{LoadedSource, Problem};
use serde::Serialize;
use types::{Digest, Name, RulesetArtifact};

use super::{Context, known};
use crate::{
    render::{Align, Table, bytes, count, plural, utc},
    report::Shown,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compile rules and show what is wrong with them; changes nothing
    #[command(
        after_help = "Examples:\n  dragnet rules check my-rules/\n  dragnet rules check webshells.yar && echo fine"
    )]
    Check {
        /// A .yar or .yara file, or a folder of them
        path: PathBuf,
    },
    /// Check rules and hunt with them from now on
    Push(Push),
    /// List rulesets
    #[command(after_help = "Examples:\n  dragnet rules list\n  dragnet rules list --json | jq .name")]
    List,
    /// Show one ruleset with its versions
    #[command(after_help = "Example:\n  dragnet rules show webshells")]
    Show {
        /// The ruleset
        name: Name,
    },
    /// Stop hunting with a ruleset for now; what it found stays
    #[command(after_help = "Example:\n  dragnet rules pause webshells      and later: dragnet rules resume webshells")]
    Pause {
        /// The ruleset
        name: Name,
    },
    /// Hunt again with a ruleset that was paused; it catches up
    #[command(after_help = "Example:\n  dragnet rules resume webshells")]
    Resume {
        /// The ruleset
        name: Name,
    },
    /// End hunting with a ruleset; pushing it again brings it back
    #[command(after_help = "Example:\n  dragnet rules retire webshells")]
    Retire {
        /// The ruleset
        name: Name,
    },
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
A push makes a new version of the ruleset. Only rules that are new or changed are run again over files that the \
version before has seen; what unchanged rules found is kept.

Examples:
  dragnet rules push my-rules/                          the ruleset is called my-rules
  dragnet rules push webshells.yar --corpus incoming    hunts in one corpus only
  dragnet rules push build/out --name webshells")]
pub struct Push {
    /// A .yar or .yara file, or a folder of them
    path: PathBuf,
    /// The ruleset; without it, the name of the file or folder
    #[arg(long)]
    name: Option<Name>,
    /// Hunt in this corpus only; may be given several times. Without it: in all, those to come as well
    #[arg(long = "corpus", value_name = "NAME")]
    corpora: Vec<Name>,
}

/// A ruleset as `--json` prints it.
#[derive(Debug, Serialize)]
struct Row<'a> {
    tenant: &'a str,
    name: &'a str,
    id: u32,
    state: &'static str,
    /// Empty: all of the tenant's.
    corpora: &'a [String],
    versions: Vec<VersionRow>,
}

#[derive(Debug, Serialize)]
struct VersionRow {
    version: u32,
    digest: Digest,
    pushed_at_ms: u64,
    units_new: u32,
    units_carried: u32,
    source_bytes: u64,
}

pub async fn run(command: Command, ctx: &mut Context) -> Result<()> {
    match command {
        Command::Check { path } => check(&path, ctx),
        Command::Push(args) => push(args, ctx).await,
        Command::List => list(ctx).await,
        Command::Show { name } => show(&name, ctx).await,
        Command::Pause { name } => set_state(&name, v1::RulesetState::Paused, ctx).await,
        Command::Resume { name } => set_state(&name, v1::RulesetState::Active, ctx).await,
        Command::Retire { name } => set_state(&name, v1::RulesetState::Retired, ctx).await,
    }
}

fn check(path: &Path, ctx: &mut Context) -> Result<()> {
    let started = tokio::time::Instant::now();
    let artifact = compile(path, ctx.out.is_json())?;
    let rules: usize = artifact.units.iter().map(|unit| unit.rules.len()).sum();
    if ctx.out.is_json() {
        return ctx.out.object(&serde_json::json!({
            "ok": true,
            "digest": artifact.digest(),
            "rules": rules,
            "units": artifact.units.len(),
            "sources": artifact.sources.len(),
            "source_bytes": artifact.source_bytes(),
        }));
    }
    ctx.out.line(format!(
        "{} in {} compile ({}, {})",
        plural(rules as u64, "rule"),
        plural(artifact.sources.len() as u64, "source"),
        bytes(artifact.source_bytes() as u64),
        crate::render::elapsed(started.elapsed()),
    ))
}

/// Loads, compiles and splits rules. What is wrong with them is shown on standard error, or with `json`
/// on it as one object per problem.
pub fn compile(path: &Path, json: bool) -> Result<RulesetArtifact> {
    let sources = match rules::load(path) {
        Ok(sources) => sources,
        Err(error) => match error.problem() {
            Some(problem) => return refuse(path, &[problem], json),
            None => return Err(error.into()),
        },
    };
    // Splitting is wasted on what does not compile, and otherwise saves its time on a second core.
    let (checked, artifact) = std::thread::scope(|scope| {
        let split = scope.spawn(|| rules::split(sources.iter().cloned().map(LoadedSource::into_source).collect()));
        (engine::check(&sources), split.join())
    });
    match checked {
        Ok(warnings) => show_problems(&warnings, json)?,
        Err(problems) => return refuse(path, &problems, json),
    }
    let artifact = artifact.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    artifact.validate().with_context(|| format!("{} cannot become a ruleset", path.display()))?;
    Ok(artifact)
}

/// Shows why a ruleset cannot be used; always an error.
fn refuse<T>(path: &Path, problems: &[Problem], json: bool) -> Result<T> {
    show_problems(problems, json)?;
    let errors = problems.iter().filter(|problem| problem.severity == rules::Severity::Error).count();
    if !json {
        eprintln!("error: {} in {}", plural(errors as u64, "error"), path.display());
    }
    Err(Shown.into())
}

fn show_problems(problems: &[Problem], json: bool) -> Result<()> {
    let mut stderr = stderr();
    let text = if json {
        let lines: Result<Vec<_>, _> = problems.iter().map(serde_json::to_string).collect();
        lines.context("failed to write problems as JSON")?.iter().map(|line| format!("{line}\n")).collect()
    } else {
        rules::render(problems, stderr.is_terminal())
    };
    stderr.write_all(text.as_bytes()).context("failed to write to standard error")
}

async fn push(args: Push, ctx: &mut Context) -> Result<()> {
    let Push { path, name, corpora } = args;
    let name = match name {
        Some(name) => name,
        None => name_of(&path)?,
    };
    let artifact = compile(&path, ctx.out.is_json())?;
    let rulesets = ctx.cluster.rulesets().await?;
    let before = rulesets.iter().find(|ruleset| known::is(ruleset.key.as_ref(), name.as_str()));
    let pushed = put(&ctx.cluster, &name, &artifact, &corpora).await?;
    let missing = missing(&ctx.cluster, &corpora).await?;
    for corpus in &missing {
        eprintln!("warning: there is no corpus {corpus} yet; it hunts once that is added");
    }
    let version = pushed.version.clone().unwrap_or_default();
    let digest = version.digest().context("the leader's answer is not valid")?;
    if ctx.out.is_json() {
        return ctx.out.object(&serde_json::json!({
            "name": name,
            "id": pushed.id,
            "version": version.number,
            "digest": digest,
            "created": pushed.created,
            "units_new": pushed.units_new,
            "units_carried": pushed.units_carried,
            "missing_corpora": missing,
            "state_before": before.map(|before| state_name(before.state())),
        }));
    }
    let named = format!("version {} ({})", version.number, digest.short());
    let mut corpora: Vec<String> = corpora.iter().map(ToString::to_string).collect();
    corpora.sort();
    corpora.dedup();
    for line in changes(&name, &named, before, &pushed, &corpora) {
        ctx.out.line(line)?;
    }
    let hunts_somewhere = corpora.is_empty() || missing.len() < corpora.len();
    if pushed.created && hunts_somewhere {
        ctx.out.line(format!("it hunts now: dragnet hunt watch {name}"))?;
    }
    Ok(())
}

/// Those of the corpora that are not there; each may come later.
async fn missing<'a>(cluster: &crate::client::Cluster, corpora: &'a [Name]) -> Result<BTreeSet<&'a Name>> {
    if corpora.is_empty() {
        return Ok(BTreeSet::new());
    }
    let there = cluster.corpora().await?;
    let missing = |name: &&Name| !there.iter().any(|corpus| known::is(corpus.key.as_ref(), name.as_str()));
    Ok(corpora.iter().filter(missing).collect())
}

/// What a push changed against the ruleset as it was before: sources, where it hunts, whether it hunts.
/// `corpora` is sorted; empty means all.
fn changes(
    name: &Name,
    version: &str,
    before: Option<&v1::Ruleset>,
    pushed: &v1::PutRulesetResponse,
    corpora: &[String],
) -> Vec<String> {
    let elsewhere = before.filter(|before| {
        let mut chosen = before.corpora.clone();
        chosen.sort();
        chosen != corpora
    });
    let moved = elsewhere.map_or(String::new(), |before| {
        format!("; it hunts in {} now, before: {}", selection(corpora), selection(&before.corpora))
    });
    let back = before.filter(|before| before.state() != v1::RulesetState::Active);
    let mut lines = Vec::new();
    lines.push(if pushed.created {
        let (new, carried) = (plural(pushed.units_new.into(), "unit"), count(pushed.units_carried.into()));
        format!("{name} {version}: {new} new, {carried} carried over{moved}")
    } else if elsewhere.is_none() && back.is_none() {
        format!("{name} has these sources already as {version}; nothing changed")
    } else {
        format!("{name}: same sources as {version}{moved}")
    });
    lines.extend(back.map(|before| format!("it was {} and is active again", state_name(before.state()))));
    lines
}

fn selection(corpora: &[String]) -> String {
    if corpora.is_empty() { "all corpora".to_owned() } else { corpora.join(", ") }
}

/// Hands a compiled ruleset to the cluster.
pub async fn put(
    cluster: &crate::client::Cluster,
    name: &Name,
    artifact: &RulesetArtifact,
    corpora: &[Name],
) -> Result<v1::PutRulesetResponse> {
    let request = v1::PutRulesetRequest {
        key: Some(cluster.key(name)),
        artifact: serde_json::to_vec(artifact).context("failed to write the ruleset as JSON")?,
        corpora: corpora.iter().map(ToString::to_string).collect(),
        ..v1::PutRulesetRequest::default()
    };
    cluster.put_ruleset(request).await
}

/// The name a folder or file suggests: its own, without extension.
pub fn name_of(path: &Path) -> Result<Name> {
    let absolute = fs::canonicalize(path).with_context(|| format!("cannot reach {}", path.display()))?;
    let part = if absolute.is_dir() { absolute.file_name() } else { absolute.file_stem() };
    let part = part.with_context(|| format!("{} suggests no name; give one with --name", path.display()))?;
    let name = part.to_string_lossy().parse::<Name>();
    name.map_err(|error| anyhow!(error).context("the file's name cannot be the ruleset's; give one with --name"))
}

async fn list(ctx: &mut Context) -> Result<()> {
    let rulesets = ctx.cluster.rulesets().await?;
    if ctx.out.is_json() {
        return rulesets.iter().try_for_each(|ruleset| ctx.out.object(&row(ruleset)?));
    }
    if rulesets.is_empty() {
        return ctx.out.line("no rulesets yet; push one: dragnet rules push my-rules/");
    }
    let (left, right) = (Align::Left, Align::Right);
    let columns = [("name", left), ("version", right), ("digest", left), ("units", right), ("sources", right)];
    let mut table = Table::new(&[&columns[..], &[("state", left), ("pushed", left), ("hunts in", left)]].concat());
    for ruleset in &rulesets {
        let row = row(ruleset)?;
        let Some(current) = row.versions.last() else { continue };
        table.row([
            row.name.to_owned(),
            current.version.to_string(),
            current.digest.short(),
            count(u64::from(current.units_new) + u64::from(current.units_carried)),
            bytes(current.source_bytes),
            row.state.to_owned(),
            utc(current.pushed_at_ms),
            selection(row.corpora),
        ]);
    }
    ctx.out.line(table)
}

async fn show(name: &Name, ctx: &mut Context) -> Result<()> {
    let rulesets = ctx.cluster.rulesets().await?;
    let named = |ruleset: &&v1::Ruleset| ruleset.key.as_ref().is_some_and(|key| key.name == name.as_str());
    let found = rulesets.iter().find(named);
    let ruleset = found.with_context(|| format!("there is no ruleset {name}; `dragnet rules list` shows all"))?;
    let row = row(ruleset)?;
    if ctx.out.is_json() {
        return ctx.out.object(&row);
    }
    let corpora = selection(row.corpora);
    ctx.out.line(format!("ruleset  {}/{}, {}, hunts in {corpora}\n", row.tenant, row.name, row.state))?;
    let right = Align::Right;
    let mut table = Table::new(&[
        ("version", right),
        ("pushed", Align::Left),
        ("new units", right),
        ("carried", right),
        ("sources", right),
        ("digest", Align::Left),
    ]);
    for version in &row.versions {
        table.row([
            version.version.to_string(),
            utc(version.pushed_at_ms),
            count(version.units_new.into()),
            count(version.units_carried.into()),
            bytes(version.source_bytes),
            version.digest.to_string(),
        ]);
    }
    ctx.out.line(table)
}

async fn set_state(name: &Name, state: v1::RulesetState, ctx: &mut Context) -> Result<()> {
    ctx.cluster.set_ruleset_state(name, state).await?;
    let state = state_name(state);
    if ctx.out.is_json() {
        return ctx.out.object(&serde_json::json!({ "name": name, "state": state }));
    }
    ctx.out.line(format!("{name} is {state} now"))
}

fn row(ruleset: &v1::Ruleset) -> Result<Row<'_>> {
    let key = ruleset.key.as_ref();
    let versions: Result<Vec<_>> = ruleset.versions.iter().map(version_row).collect();
    Ok(Row {
        tenant: key.map_or("", |key| &key.tenant),
        name: key.map_or("", |key| &key.name),
        id: ruleset.id,
        state: state_name(ruleset.state()),
        corpora: &ruleset.corpora,
        versions: versions?,
    })
}

fn version_row(version: &v1::RulesetVersion) -> Result<VersionRow> {
    let named = version.version.as_ref().context("the leader's answer names no version")?;
    Ok(VersionRow {
        version: named.number,
        digest: named.digest().context("the leader's answer is not valid")?,
        pushed_at_ms: version.put_at_ms,
        units_new: version.units_new,
        units_carried: version.units_carried,
        source_bytes: version.source_bytes,
    })
}

fn state_name(state: v1::RulesetState) -> &'static str {
    match state {
        v1::RulesetState::Unspecified => "unknown",
        v1::RulesetState::Active => "active",
        v1::RulesetState::Paused => "paused",
        v1::RulesetState::Retired => "retired",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_says_what_it_changed() {
        let name: Name = "web".parse().unwrap();
        let said = |before: Option<&v1::Ruleset>, created, corpora: &[&str]| {
            let pushed = v1::PutRulesetResponse { created, units_new: 1, ..v1::PutRulesetResponse::default() };
            let corpora: Vec<_> = corpora.iter().map(ToString::to_string).collect();
            changes(&name, "version 2 (ab)", before, &pushed, &corpora)
        };
        let ruleset = |state: v1::RulesetState, corpora: &[&str]| v1::Ruleset {
            state: state.into(),
            corpora: corpora.iter().map(ToString::to_string).collect(),
            ..v1::Ruleset::default()
        };
        let active = ruleset(v1::RulesetState::Active, &["b", "a"]);
        let retired = ruleset(v1::RulesetState::Retired, &[]);
        assert_eq!(said(None, true, &[]), ["web version 2 (ab): 1 unit new, 0 carried over"]);
        let unchanged = ["web has these sources already as version 2 (ab); nothing changed"];
        assert_eq!(said(Some(&active), false, &["a", "b"]), unchanged);
        let moved = ["web: same sources as version 2 (ab); it hunts in all corpora now, before: b, a"];
        assert_eq!(said(Some(&active), false, &[]), moved);
        let back = ["web: same sources as version 2 (ab)", "it was retired and is active again"];
        assert_eq!(said(Some(&retired), false, &[]), back);
    }

    #[test]
    fn a_ruleset_is_called_like_its_folder_or_file() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("web-shells");
        fs::create_dir(&folder).unwrap();
        let file = folder.join("php.yar");
        fs::write(&file, "").unwrap();
        assert_eq!(name_of(&folder).unwrap().as_str(), "web-shells");
        assert_eq!(name_of(&folder.join(".")).unwrap().as_str(), "web-shells");
        assert_eq!(name_of(&file).unwrap().as_str(), "php");
        let bad = dir.path().join("Bad Name.yar");
        fs::write(&bad, "").unwrap();
        assert!(format!("{:#}", name_of(&bad).unwrap_err()).contains("--name"));
    }
}
