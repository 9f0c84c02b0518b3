//! `dragnet up --demo`: one story on this machine, with real files, that ends by itself.
//!
//! ```text
//! dataset of packages ──► start ──► corpora ──► rules ──► scan ──► findings, receipts ──► next version ──► new files
//!       ──► full sweep; meanwhile the leader is killed and the dataset replaced ──► summary ──► stop
//! ```
//! Nothing is staged: the processes are those of `up`, and every number is asked from the cluster. What
//! the story claims is checked, and a claim that does not hold ends the demo with exit code 1.

mod accident;
mod answers;
mod follow;
mod known;
mod memory;
mod packages;
mod places;
mod setting;
mod story;
mod sweep;

use std::sync::{Arc, mpsc::sync_channel};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::time::Instant;
use types::Tenant;

use self::{memory::Memory, setting::Examples, story::Story};
use crate::{
    client::Cluster,
    render::Out,
    report::Usage,
    up::{
        self, Announce, DEFAULT_PORT, Stop,
        kv::Kv,
        layout::{Layout, Settings},
        local::{Local, Plan, Programs},
    },
};

/// Lines about processes that wait to be printed; a demo has a handful, more are dropped.
const MAX_NOTICES: usize = 64;

pub async fn run(args: up::Args, out: &mut Out) -> Result<()> {
    let up::Args { dir, orchestrators, scanners, port, datasets, kv_servers, kv, no_datasets: _, demo: _, examples } =
        args;
    if out.is_json() {
        return Err(Usage("the demo is for people, it has no --json".to_owned()).into());
    }
    if orchestrators == Some(1) {
        return Err(Usage("the demo kills the leader, so it takes three orchestrators".to_owned()).into());
    }
    if !datasets.is_empty() || !kv.is_empty() || kv_servers.is_some() {
        return Err(Usage("the demo builds and serves its own dataset".to_owned()).into());
    }
    let examples = Examples::find(examples)?;
    let programs = Programs::beside_this_one()?;
    let own_folder = dir.is_none();
    let root = match dir {
        Some(dir) if up::is_used(&dir) => {
            bail!(
                "{} holds a cluster already and the demo starts from nothing; name another folder with --dir, or leave \
                 --dir out",
                dir.display()
            )
        }
        Some(dir) => dir,
        None => Layout::demo_root()?,
    };
    let layout = Layout::create(&root)?;
    let lock = layout.lock()?;
    if own_folder {
        layout.clear(&lock)?;
    }
    let port = match port {
        Some(port) => port,
        None => {
            // Also those of the key-value servers, whose dataset is yet to be built.
            let offsets = up::kv::offsets(known::SHARDS);
            up::free_base(DEFAULT_PORT, 3, &offsets).context("no three free ports in a row; choose with --port")?
        }
    };
    let settings = Settings::merge(None, Some(port), Some(3))?;
    up::prepare(&layout, &settings, &Kv::default()).await?;

    let (notices, receive_notices) = sync_channel(MAX_NOTICES);
    let announce: Announce = Arc::new(move |line: &str| drop(notices.try_send(line.to_owned())));
    let cluster = Cluster::new(settings.addresses(), Tenant::default());
    let plan = Plan { layout: layout.clone(), settings, scanners: up::scanners(scanners), programs, kv: Kv::default() };
    let mut local = Local::new(plan, announce);
    let mut stop = Stop::listen()?;
    let memory = Memory::default();
    let begun = Instant::now();

    let mut story =
        Story { out, cluster: &cluster, examples: &examples, memory: &memory, notices: receive_notices, begun };
    let told = tokio::select! {
        told = story.tell(&mut local) => told,
        () = stop.asked() => Err(anyhow!("the demo was interrupted")),
    };
    out.flush()?;
    up::shut_down(&local, &mut stop).await;
    let told = told.with_context(|| format!("the demo failed; logs are in {}", layout.logs().display()));
    told.and_then(|ending| ending.print(out, &layout))
}
