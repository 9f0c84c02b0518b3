//! The operator on a real cluster: three nodes on this machine, installed by helm, and what it costs.
//!
//! There is no peer: the same questions about another operator would be about other work. Times are those that a person with kubectl sees.

mod metrics;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use testcluster::parts::{
    CLUSTER, RULES, corpora, credentials, orchestrator, restricted_namespace, ruleset, workers, write_corpus,
};
use testcluster::{Deadline, Installation, Kubectl, Place, SYSTEM, eventually, has_condition};

use self::metrics::{Metrics, Usage};
use crate::machine;
use crate::measure::timed;
use crate::report::{Report, Row};

/// Beside that of the tests and the one to play with.
const NAME: &str = "dragnet-bench";
const NAMESPACE: &str = "bench";
const MANY: &str = "bench-many";
/// For each step; far above what any takes.
const DEADLINE: Duration = Duration::from_secs(300);
/// How long nothing is done while requests are counted.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// YaraRulesets that are applied at once
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rulesets: u32,
    /// Files of the corpus that is swept when a node crashes
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(100..=100_000))]
    files: u32,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    for fact in machine::facts() {
        println!("{fact}");
    }
    let place = Place::find()?;
    if let Some(reason) = place.without_nodes() {
        bail!("no cluster can be started here: {reason}");
    }
    let program = std::env::current_exe().context("failed to find our own program")?;
    let programs: PathBuf = program.parent().context("our own program has no folder")?.to_owned();
    let world = Installation::on_own_nodes(&place, NAME, false, &programs)?;
    let bench = Bench { args, world };
    let outcome = bench.all();
    if outcome.is_err() {
        for namespace in [SYSTEM, NAMESPACE] {
            println!("=== {namespace}\n{}", bench.world.kubectl().in_namespace(namespace).explain());
        }
    }
    let report = Report(outcome?);
    println!("\n{report}");
    println!("written to {}", report.save("operator")?.display());
    Ok(())
}

struct Bench<'a> {
    args: &'a Args,
    world: Installation,
}

impl Bench<'_> {
    fn all(&self) -> Result<Vec<Row>> {
        let mut rows = self.first_finding()?;
        rows.push(self.idle()?);
        rows.extend(self.one_change()?);
        rows.push(self.crash()?);
        rows.extend(self.many()?);
        Ok(rows)
    }

    fn kubectl(&self) -> Kubectl {
        self.world.kubectl().in_namespace(NAMESPACE)
    }

    fn until<T>(&self, what: &str, look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
        eventually(what, Deadline::after(DEADLINE), look)
    }

    /// From nothing but nodes to the first finding, as the quickstart goes.
    fn first_finding(&self) -> Result<Vec<Row>> {
        let folder = tempfile::tempdir().context("failed to create a folder for files")?;
        write_corpus(folder.path(), 200, 4)?;
        self.world.upload(folder.path(), &format!("{NAMESPACE}/files"))?;
        let mut ready = Duration::ZERO;
        let ((), whole) = timed(|| {
            let ((), installed) = timed(|| self.world.install(&self.world.charts(), self.world.image(), &[]))?;
            println!("helm install, until the operator leads: {:.1} s", installed.as_secs_f64());
            self.world.kubectl().apply(&restricted_namespace(NAMESPACE))?;
            let documents = [
                credentials(),
                workers(2),
                corpora(NAMESPACE),
                ruleset("marks", RULES),
                orchestrator(NAMESPACE, 3, ""),
            ];
            let ((), time) = timed(|| {
                self.kubectl().apply(&documents.join("---\n"))?;
                self.until("three voters are ready", || {
                    let object = self.kubectl().get("orchestrator", CLUSTER)?;
                    let voters = object["status"]["voters"].as_u64() == Some(3);
                    Ok((voters && has_condition(&object, "Ready", "True")).then_some(()))
                })
            })?;
            ready = time;
            self.until("there is a finding", || {
                Ok((!self.world.dragnet(NAMESPACE, &["findings", "--limit", "1"])?.is_empty()).then_some(()))
            })
        })?;
        Ok(vec![
            Row::of_ours("helm install to first finding", "s", whole.as_secs_f64()).with_ours_below(60.0),
            Row::of_ours("apply to Ready, three voters", "s", ready.as_secs_f64()).with_ours_below(30.0),
        ])
    }

    /// Requests to the API server while nothing changes, as the operator counts them: without watches and renewals of its Lease.
    fn idle(&self) -> Result<Row> {
        self.until("the hunt is complete", || {
            let object = self.kubectl().get("yararuleset", "marks")?;
            Ok(has_condition(&object, "Complete", "True").then_some(()))
        })?;
        let before = self.metrics()?;
        std::thread::sleep(IDLE);
        let after = self.metrics()?;
        let requests = after.requests() - before.requests();
        println!("idle for {} s: {}", IDLE.as_secs(), after.requests_by_verb(&before));
        let per_minute = requests * 60.0 / IDLE.as_secs_f64();
        Ok(Row::of_ours("idle API requests, watches and Lease apart", "1/min", per_minute).with_ours_below(10.0))
    }

    /// What one edited ruleset costs, from apply to `Complete`.
    fn one_change(&self) -> Result<Vec<Row>> {
        let changes = 10;
        let before = self.metrics()?;
        for change in 0..changes {
            let rules = format!("{RULES}\nrule changed_{change} {{ condition: false }}");
            self.kubectl().apply(&ruleset("marks", &rules))?;
            self.until("the change is complete", || {
                let object = self.kubectl().get("yararuleset", "marks")?;
                Ok(has_condition(&object, "Complete", "True").then_some(()))
            })?;
        }
        let after = self.metrics()?;
        let requests = (after.requests() - before.requests()) / f64::from(changes);
        let p95 = after.reconcile_p95_since(&before).context("nothing was reconciled")?;
        Ok(vec![
            Row::of_ours("API requests per changed ruleset", "requests", requests).with_ours_below(50.0),
            Row::of_ours("reconcile p95", "ms", p95 * 1e3).with_ours_below(500.0),
        ])
    }

    /// A node crashes in a sweep: until the leases of the worker on it are others'.
    fn crash(&self) -> Result<Row> {
        let folder = tempfile::tempdir().context("failed to create a folder for files")?;
        write_corpus(folder.path(), self.args.files, 16)?;
        self.world.upload(folder.path(), &format!("{NAMESPACE}/files"))?;
        let text = |pod: &Value, path: &str| pod.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let leader = text(&self.kubectl().get("orchestrator", CLUSTER)?, "/status/leader");
        let leads = text(&self.kubectl().get("pod", &leader)?, "/spec/nodeName");
        let pods = self.kubectl().list("pods", Some("app.kubernetes.io/component=scan-worker"))?;
        let victim = pods.iter().find(|pod| text(pod, "/spec/nodeName") != leads);
        let victim = victim.context("all workers are on the leader's node")?;
        let (worker, node) = (text(victim, "/metadata/name"), text(victim, "/spec/nodeName"));
        let has_work = || Ok::<_, anyhow::Error>(self.busy_workers()?.iter().any(|name| name.contains(&worker)));
        self.until("the worker has work", || Ok(has_work()?.then_some(())))?;
        self.world.cluster().crash(&node)?;
        let ((), time) = timed(|| {
            self.until("its work is others'", || {
                let busy = self.busy_workers()?;
                Ok((!busy.is_empty() && !busy.iter().any(|name| name.contains(&worker))).then_some(()))
            })
        })?;
        self.world.cluster().boot(&node)?;
        Ok(Row::of_ours("node crash to its segments granted again", "s", time.as_secs_f64()).with_ours_below(20.0))
    }

    /// Names of the workers that hold leases.
    fn busy_workers(&self) -> Result<BTreeSet<String>> {
        let status = self.world.dragnet(NAMESPACE, &["status"])?;
        let sessions = status.iter().filter_map(|line| line["cluster"]["sessions"].as_array()).flatten();
        let busy = sessions.filter(|session| session["leases"].as_u64().is_some_and(|leases| leases > 0));
        Ok(busy.filter_map(|session| session["worker"].as_str().map(str::to_owned)).collect())
    }

    /// Many rulesets at once.
    fn many(&self) -> Result<Vec<Row>> {
        self.world.kubectl().apply(&restricted_namespace(MANY))?;
        let many = self.world.kubectl().in_namespace(MANY);
        many.apply(&[credentials(), orchestrator(MANY, 1, "")].join("---\n"))?;
        self.until("the Orchestrator is ready", || {
            Ok(has_condition(&many.get("orchestrator", CLUSTER)?, "Ready", "True").then_some(()))
        })?;
        let documents: Vec<String> = (0..self.args.rulesets)
            .map(|number| {
                ruleset(&format!("r{number}"), &format!("rule r{number} {{ condition: filesize == {number} }}"))
            })
            .collect();
        let before = self.usage()?;
        let ((), time) = timed(|| {
            for part in documents.chunks(250) {
                many.apply(&part.join("---\n"))?;
            }
            self.until("all rulesets have a status", || {
                let all = many.list("yararulesets", None)?;
                let told = all.iter().filter(|object| object["status"]["version"].is_u64()).count();
                Ok((told == documents.len()).then_some(()))
            })
        })?;
        let after = self.usage()?;
        let cpu = after.cpu_seconds - before.cpu_seconds;
        ensure!(cpu >= 0.0, "the operator was restarted");
        let count = self.args.rulesets;
        Ok(vec![
            Row::of_ours(&format!("{count} rulesets at once: all have status"), "s", time.as_secs_f64()),
            Row::of_ours(&format!("{count} rulesets at once: CPU of the operator"), "s", cpu),
            Row::of_ours(&format!("{count} rulesets at once: memory of the operator"), "MiB", after.mebibytes)
                .with_ours_below(256.0),
        ])
    }

    fn leader(&self) -> Result<Value> {
        let leader = self.world.operator_leader()?.context("no operator leads")?;
        self.world.kubectl().in_namespace(SYSTEM).get("pod", &leader)
    }

    /// Of the operator that leads.
    fn metrics(&self) -> Result<Metrics> {
        let pod = self.leader()?;
        let name = pod["metadata"]["name"].as_str().context("a pod has a name")?;
        let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{name}:8080/proxy/metrics");
        Ok(Metrics::parse(&self.world.kubectl().run(&["get", "--raw", &path])?))
    }

    /// CPU and memory of the operator that leads, as its kubelet sees them.
    fn usage(&self) -> Result<Usage> {
        let pod = self.leader()?;
        let node = pod["spec"]["nodeName"].as_str().context("the operator is on a node")?;
        let text = self.world.kubectl().run(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/stats/summary")])?;
        let summary: Value = serde_json::from_str(&text).context("the kubelet's summary is no JSON")?;
        let uid = &json!(pod["metadata"]["uid"]);
        let pods = summary["pods"].as_array().context("the kubelet's summary has no pods")?;
        let ours =
            pods.iter().find(|one| &one["podRef"]["uid"] == uid).context("the kubelet does not know the operator")?;
        Usage::parse(ours).context("the kubelet says nothing of the operator's usage")
    }
}
