//! Waiting for hunts while someone watches.

use std::{sync::mpsc::Receiver, time::Duration};

use anyhow::{Result, bail};
use protocol::v1;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    client::Cluster,
    commands::receipt::is_caught_up,
    render::{HuntBars, Out, Progress, Speed, plural},
};

/// A log is no terminal: it gets a line now and then, not bars.
const LINE_EVERY: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(250);
/// Nothing in the demo takes as long on a machine that works.
const DEADLINE: Duration = Duration::from_secs(1200);

/// Shows how far the wanted hunts are until `done` says so; returns them as they were then.
pub(super) async fn follow(
    cluster: &Cluster,
    out: &mut Out,
    notices: &Receiver<String>,
    wanted: impl Fn(&v1::Hunt) -> bool,
    done: impl Fn(&[v1::Hunt]) -> bool,
) -> Result<Vec<v1::Hunt>> {
    let begun = Instant::now();
    let mut view = View::new(out.is_terminal());
    let mut watch = cluster.watch_hunts();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut hunts: Vec<v1::Hunt> = Vec::new();
    loop {
        tokio::select! {
            answer = watch.next() => {
                hunts = answer?;
                hunts.retain(&wanted);
                if !hunts.is_empty() && done(&hunts) {
                    view.show(&hunts, begun, out, true)?;
                    view.clear();
                    return Ok(hunts);
                }
            }
            _ = tick.tick() => view.show(&hunts, begun, out, false)?,
        }
        for notice in notices.try_iter() {
            view.print(&format!("  ! {notice}"), out)?;
        }
        if begun.elapsed() > DEADLINE {
            view.clear();
            let left = hunts.iter().filter(|hunt| !is_caught_up(hunt)).count();
            bail!(
                "{left} of {} have not caught up within {} s",
                plural(hunts.len() as u64, "hunt"),
                DEADLINE.as_secs()
            );
        }
    }
}

enum View {
    Bars(HuntBars),
    Lines { last: Option<Instant>, speed: Speed },
}

impl View {
    fn new(terminal: bool) -> Self {
        if terminal { Self::Bars(HuntBars::new()) } else { Self::Lines { last: None, speed: Speed::default() } }
    }

    fn show(&mut self, hunts: &[v1::Hunt], begun: Instant, out: &mut Out, now_please: bool) -> Result<()> {
        if hunts.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        match self {
            Self::Bars(bars) => bars.update(hunts, now),
            Self::Lines { last, speed } => {
                let progress = Progress::sum(hunts);
                speed.sample(now, progress.bytes_done);
                let due = last.is_none_or(|last| now.duration_since(last) >= LINE_EVERY);
                if !due && !now_please {
                    return Ok(());
                }
                *last = Some(now);
                let caught_up = hunts.iter().filter(|hunt| is_caught_up(hunt)).count();
                let (seconds, hunts) = (now.duration_since(begun).as_secs(), plural(hunts.len() as u64, "hunt"));
                let (amounts, speed) = (progress.amounts("answers"), speed.text(&progress));
                out.line(format!("  [{seconds:>3} s] {hunts}, {caught_up} caught up: {amounts}  {speed}"))?;
                out.flush()?;
            }
        }
        Ok(())
    }

    fn print(&self, line: &str, out: &mut Out) -> Result<()> {
        match self {
            Self::Bars(bars) => bars.print(line),
            Self::Lines { .. } => {
                out.line(line)?;
                out.flush()?;
            }
        }
        Ok(())
    }

    fn clear(&self) {
        if let Self::Bars(bars) = self {
            bars.clear();
        }
    }
}
