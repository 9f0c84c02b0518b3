//! Live bars, one per hunt that runs, and one for all of them.

use std::collections::BTreeMap;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::v1;
use tokio::time::Instant;

use super::{Progress, Speed, plural};

/// More bars than this scroll off a small terminal; the rest is in the last bar.
const MAX_BARS: usize = 16;

/// Bars on a terminal. Drawing anywhere else is the caller's: plain lines, now and then.
#[derive(Debug)]
pub struct HuntBars {
    screen: MultiProgress,
    bars: BTreeMap<String, Bar>,
    total: Bar,
}

#[derive(Debug)]
struct Bar {
    bar: ProgressBar,
    speed: Speed,
}

impl HuntBars {
    pub fn new() -> Self {
        let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stdout_with_hz(10));
        let total = Bar { bar: screen.add(bar()), speed: Speed::default() };
        Self { screen, bars: BTreeMap::new(), total }
    }

    /// Shows where the hunts stand now: those that run with a bar each, all together in the last one.
    pub fn update(&mut self, hunts: &[v1::Hunt], now: Instant) {
        let running: Vec<_> = hunts.iter().filter(|hunt| hunt.state() == v1::HuntState::Running).collect();
        let shown = &running[..running.len().min(MAX_BARS)];
        let labels: BTreeMap<String, &v1::Hunt> = shown.iter().map(|hunt| (label(hunt), *hunt)).collect();
        self.bars.retain(|label, bar| {
            let keep = labels.contains_key(label);
            if !keep {
                bar.bar.finish_and_clear();
                self.screen.remove(&bar.bar);
            }
            keep
        });
        let width = labels.keys().map(|label| label.chars().count()).max().unwrap_or(0).max(12);
        for (label, hunt) in &labels {
            let entry = self.bars.entry(label.clone()).or_insert_with(|| {
                let bar = self.screen.insert_before(&self.total.bar, bar());
                Bar { bar, speed: Speed::default() }
            });
            let note = match hunt.outcomes.unwrap_or_default().matched {
                0 => String::new(),
                matched => format!("  {} matched", super::count(matched)),
            };
            entry.show(&format!("{label:width$}"), &Progress::of(hunt), "files", &note, now);
        }
        let together = format!("{:width$}", plural(hunts.len() as u64, "hunt"));
        let note = format!("  {} caught up", hunts.len() - running.len());
        self.total.show(&together, &Progress::sum(hunts), "answers", &note, now);
    }

    /// Removes the bars; what was printed stays.
    pub fn clear(&self) {
        for bar in self.bars.values().chain([&self.total]) {
            bar.bar.finish_and_clear();
        }
    }

    /// A line above the bars.
    pub fn print(&self, text: &str) {
        // Fails only when the terminal is gone; then nobody reads it.
        let _ = self.screen.println(text);
    }
}

/// Whatever ends the watch, no half-drawn bar stays behind.
impl Drop for HuntBars {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Default for HuntBars {
    fn default() -> Self {
        Self::new()
    }
}

impl Bar {
    fn show(&mut self, label: &str, progress: &Progress, noun: &str, note: &str, now: Instant) {
        self.speed.sample(now, progress.bytes_done);
        self.bar.set_position(progress.per_mille());
        self.bar.set_prefix(label.to_owned());
        self.bar.set_message(format!("{}  {}{note}", progress.amounts(noun), self.speed.text(progress)));
        self.bar.tick();
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("  {prefix} {bar:20} {wide_msg}").expect("the template is a constant");
    ProgressBar::new(1000).with_style(style.progress_chars("━╸─"))
}

fn label(hunt: &v1::Hunt) -> String {
    let name = |key: &Option<v1::Key>| key.as_ref().map_or(String::new(), |key| key.name.clone());
    format!("{} in {}", name(&hunt.ruleset), name(&hunt.corpus))
}
