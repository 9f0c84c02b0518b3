//! The processes of a cluster on this machine: how they start, in which order they stop.

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use protocol::v1;
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    sync::{Mutex, watch},
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    kv::{self, Kv},
    layout::{Layout, Settings},
    process::{self, Announce, Order, Spec},
};
use crate::client::status_of;

/// First start of a cluster, fsyncs and elections included, on a slow and busy disk.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// A worker settles or gives back what it holds; it takes 20 s at most by itself.
const WORKER_PATIENCE: Duration = Duration::from_secs(25);
/// A member hands over leadership and closes its log; it takes 10 s at most by itself.
const ORCHESTRATOR_PATIENCE: Duration = Duration::from_secs(15);
/// A key-value server answers what was asked; it takes 10 s at most by itself.
const KV_SERVER_PATIENCE: Duration = Duration::from_secs(15);
/// The one worker's name, for people.
pub const WORKER: &str = "local";
const WORKER_PROCESS: &str = "scan-worker";

/// What a cluster here is made of.
#[derive(Debug)]
pub struct Plan {
    pub layout: Layout,
    pub settings: Settings,
    pub scanners: usize,
    pub programs: Programs,
    pub kv: Kv,
}

/// The executables, which lie beside this one.
#[derive(Debug, Clone)]
pub struct Programs {
    pub orchestrator: PathBuf,
    pub scan_worker: PathBuf,
    pub kv_server: PathBuf,
}

impl Programs {
    pub fn beside_this_one() -> Result<Self> {
        let own = std::env::current_exe().context("failed to find this executable")?;
        let find = |name: &str| {
            let path = own.with_file_name(name);
            match path.is_file() {
                true => Ok(path),
                false => Err(anyhow!(
                    "the program {name} is missing beside {}; build all of them with: cargo build --release",
                    own.display()
                )),
            }
        };
        Ok(Self {
            orchestrator: find("orchestrator")?,
            scan_worker: find("scan-worker")?,
            kv_server: find("kv-server")?,
        })
    }
}

/// The running processes.
pub struct Local {
    plan: Plan,
    announce: Announce,
    /// By process name.
    controls: BTreeMap<String, Control>,
    /// One task per process; each ends when it was told to, or with the reason why it cannot go on.
    tasks: Mutex<JoinSet<(String, Result<()>)>>,
}

struct Control {
    spec: Spec,
    orders: watch::Sender<Order>,
    pid: watch::Receiver<Option<u32>>,
}

impl Local {
    pub fn new(plan: Plan, announce: Announce) -> Self {
        Self { plan, announce, controls: BTreeMap::new(), tasks: Mutex::default() }
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What to serve from the start on; to be called before it.
    pub fn serve(&mut self, settings: Settings, kv: Kv) {
        (self.plan.settings, self.plan.kv) = (settings, kv);
    }

    /// Starts everything and returns when members agree on a leader and the worker is connected.
    ///
    /// On an error, or when dropped half-way, what was started keeps running: call [`Local::stop`].
    pub async fn start(&mut self) -> Result<()> {
        let members = self.plan.settings.orchestrators;
        if self.plan.settings.bootstrapped {
            (1..=members).for_each(|member| self.start_orchestrator(member, Birth::Join));
        } else {
            self.start_orchestrator(1, Birth::Bootstrap);
            self.until(wait_ready(self.plan.settings.addresses()[..1].to_vec()), &["orchestrator-1"]).await?;
            self.plan.settings.bootstrapped = true;
            self.plan.layout.save(&self.plan.settings)?;
            (2..=members).for_each(|member| self.start_orchestrator(member, Birth::Join));
        }
        let names: Vec<_> = (1..=members).map(orchestrator_name).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.until(wait_members(self.plan.settings.addresses()), &names).await?;
        // A start with more members than before is remembered once they are in.
        self.plan.layout.save(&self.plan.settings)?;
        self.start_kv_servers()?;
        self.start_worker();
        self.until(wait_worker(self.plan.settings.addresses()), &[WORKER_PROCESS]).await
    }

    /// Waits for what `name` promises, and fails early when a process cannot run at all.
    async fn until(&mut self, ready: impl Future<Output = ()>, concerned: &[&str]) -> Result<()> {
        tokio::select! {
            () = ready => Ok(()),
            error = self.failed() => Err(error),
            () = sleep(START_DEADLINE) => {
                let seconds = START_DEADLINE.as_secs();
                let spec = concerned.iter().find_map(|name| self.controls.get(*name)).map(|control| &control.spec);
                let spec = spec.context("nothing was started")?;
                Err(process::failure(spec, &format!("was not ready within {seconds} s")))
            }
        }
    }

    /// Returns when a process cannot go on. Pending for ever while all can.
    pub async fn failed(&self) -> anyhow::Error {
        let mut tasks = self.tasks.lock().await;
        while let Some(ended) = tasks.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((name, Err(error))) => return error.context(format!("{name} cannot run")),
                Err(panic) => return anyhow!(panic).context("a task of `up` ended on its own"),
            }
        }
        std::future::pending().await
    }

    /// Stops the worker, then the followers, then the leader, so that each step costs the others least.
    pub async fn stop(&self) {
        self.order(&[WORKER_PROCESS.to_owned()], Order::Stop).await;
        let servers: Vec<_> = (1..=self.plan.kv.servers()).map(kv::server_name).collect();
        self.order(&servers, Order::Stop).await;
        let leader = self.leader().await.map(orchestrator_name);
        let members = (1..=self.plan.settings.orchestrators).map(orchestrator_name);
        let (leaders, followers): (Vec<_>, Vec<_>) = members.partition(|name| Some(name) == leader.as_ref());
        self.order(&followers, Order::Stop).await;
        self.order(&leaders, Order::Stop).await;
    }

    /// Kills whatever still runs, at once.
    pub async fn kill(&self) {
        let names: Vec<_> = self.controls.keys().cloned().collect();
        self.order(&names, Order::Kill).await;
    }

    /// Gives an order and waits until the named processes have ended.
    async fn order(&self, names: &[String], order: Order) {
        let controls: Vec<_> = names.iter().filter_map(|name| self.controls.get(name)).collect();
        for control in &controls {
            control.orders.send_replace(order);
        }
        for control in controls {
            // An error means that the task is gone, and the process with it.
            let _ = control.pid.clone().wait_for(Option::is_none).await;
        }
    }

    /// Which member leads, from 1.
    pub async fn leader(&self) -> Option<u16> {
        let addresses = self.plan.settings.addresses();
        let status = leader_status(&addresses).await?;
        let at = addresses.iter().position(|address| *address == status.leader_address)?;
        u16::try_from(at + 1).ok()
    }

    /// Process ids of all that run, by name.
    pub fn pids(&self) -> BTreeMap<String, u32> {
        let running = self.controls.iter().filter_map(|(name, control)| Some((name.clone(), (*control.pid.borrow())?)));
        running.collect()
    }

    /// `kill -9`, as an accident would, and no restart before [`Local::release`]. Returns the process id.
    ///
    /// Held back, because a member that is back within a second may go on leading as if nothing had been.
    pub fn strike(&self, member: u16) -> Result<u32> {
        let name = orchestrator_name(member);
        let control = self.controls.get(&name).with_context(|| format!("{name} was never started"))?;
        let pid = (*control.pid.borrow()).with_context(|| format!("{name} is not running"))?;
        let raw = Pid::from_raw(pid.cast_signed()).context("a process id is never 0")?;
        control.orders.send_replace(Order::Hold);
        kill_process(raw, Signal::KILL).with_context(|| format!("failed to kill process {pid}"))?;
        Ok(pid)
    }

    /// Starts a member again that was struck.
    pub fn release(&self, member: u16) {
        if let Some(control) = self.controls.get(&orchestrator_name(member)) {
            // Whoever stops the cluster meanwhile has the last word.
            control.orders.send_if_modified(|order| {
                let held = *order == Order::Hold;
                if held {
                    *order = Order::Run;
                }
                held
            });
        }
    }

    fn start_orchestrator(&mut self, member: u16, birth: Birth) {
        let Plan { layout, settings, programs, .. } = &self.plan;
        let addresses = settings.addresses();
        let own = &addresses[usize::from(member) - 1];
        let mut args: Vec<OsString> = Vec::new();
        let mut flag = |name: &str, value: OsString| args.extend([name.into(), value]);
        flag("--dir", layout.orchestrator(member).into());
        flag("--listen", own.into());
        flag("--storage", storage_url(layout).into());
        match birth {
            Birth::Bootstrap => args.push("--bootstrap".into()),
            Birth::Join => {
                let others: Vec<_> = addresses.iter().filter(|address| *address != own).cloned().collect();
                // A single member has nobody to join; its data is all there is.
                let join = if others.is_empty() { own.clone() } else { others.join(",") };
                args.extend(["--join".into(), join.into()]);
            }
        }
        let name = orchestrator_name(member);
        let (program, log) = (programs.orchestrator.clone(), layout.log(&name));
        self.spawn(Spec { name, program, args, log, patience: ORCHESTRATOR_PATIENCE });
    }

    /// Nobody waits for them: a worker that does not find them says so in its findings, and asks again.
    fn start_kv_servers(&mut self) -> Result<()> {
        let Plan { layout, programs, kv, .. } = &self.plan;
        kv.write_topology(layout)?;
        let spec = |server| {
            let name = kv::server_name(server + 1);
            let (program, args, log) = (programs.kv_server.clone(), kv.server_args(layout, server), layout.log(&name));
            Spec { name, program, args, log, patience: KV_SERVER_PATIENCE }
        };
        let specs: Vec<_> = (0..kv.servers()).map(spec).collect();
        specs.into_iter().for_each(|spec| self.spawn(spec));
        Ok(())
    }

    fn start_worker(&mut self) {
        let Plan { layout, settings, scanners, programs, kv } = &self.plan;
        let args: [OsString; 8] = [
            "--orchestrators".into(),
            settings.addresses().join(",").into(),
            "--never-list".into(),
            layout.root().into(),
            "--scanners".into(),
            scanners.to_string().into(),
            "--name".into(),
            WORKER.into(),
        ];
        let (program, log) = (programs.scan_worker.clone(), layout.log(WORKER_PROCESS));
        let (name, args) = (WORKER_PROCESS.to_owned(), [args.to_vec(), kv.worker_args()].concat());
        self.spawn(Spec { name, program, args, log, patience: WORKER_PATIENCE });
    }

    fn spawn(&mut self, spec: Spec) {
        let (orders, receive_orders) = watch::channel(Order::Run);
        let (send_pid, pid) = watch::channel(None);
        let name = spec.name.clone();
        let running = process::keep_running(spec.clone(), receive_orders, send_pid, self.announce.clone());
        let task_name = name.clone();
        self.tasks.get_mut().spawn(async move { (task_name, running.await) });
        self.controls.insert(name, Control { spec, orders, pid });
    }
}

/// How a member without data begins. One that has an identity ignores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Birth {
    Bootstrap,
    Join,
}

pub fn orchestrator_name(member: u16) -> String {
    format!("orchestrator-{member}")
}

fn storage_url(layout: &Layout) -> String {
    layout.storage_url().expect("checked before anything started")
}

const POLL: Duration = Duration::from_millis(100);

/// Each address answers and says that it is ready.
async fn wait_ready(addresses: Vec<String>) {
    for address in addresses {
        while !status_of(&address).await.is_ok_and(|status| status.ready) {
            sleep(POLL).await;
        }
    }
}

/// Each address is a voter that is ready.
async fn wait_members(addresses: Vec<String>) {
    wait_ready(addresses.clone()).await;
    loop {
        if let Some(status) = leader_status(&addresses).await {
            let votes =
                |address: &String| status.members.iter().any(|member| member.voter && member.address == *address);
            if addresses.iter().all(votes) {
                return;
            }
        }
        sleep(POLL).await;
    }
}

/// The leader knows a worker.
async fn wait_worker(addresses: Vec<String>) {
    while leader_status(&addresses).await.is_none_or(|status| status.sessions == 0) {
        sleep(POLL).await;
    }
}

/// What the leader says about itself; `None` while there is none.
pub async fn leader_status(addresses: &[String]) -> Option<v1::StatusResponse> {
    let answers = futures::future::join_all(addresses.iter().map(|address| status_of(address))).await;
    let leads = |status: &v1::StatusResponse| status.node_id != 0 && status.leader_id == status.node_id;
    // Right after an accident an old leader may still believe in itself; the newer term is right.
    answers.into_iter().flatten().filter(leads).max_by_key(|status| status.term)
}

/// Waits until another member than the one that was struck leads. Returns it, from 1, and how long it took.
pub async fn wait_other_leader(addresses: &[String], struck: u16, deadline: Duration) -> Result<(u16, Duration)> {
    let started = Instant::now();
    let others: Vec<_> =
        (1_u16..).zip(addresses).filter(|(member, _)| *member != struck).map(|(_, address)| address.clone()).collect();
    while started.elapsed() < deadline {
        if let Some(status) = leader_status(&others).await
            && let Some(at) = addresses.iter().position(|address| *address == status.leader_address)
        {
            return Ok((u16::try_from(at + 1).context("there are at most three members")?, started.elapsed()));
        }
        sleep(Duration::from_millis(20)).await;
    }
    bail!("no other member took the lead within {} s", deadline.as_secs())
}
