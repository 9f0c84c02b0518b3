//! One bar on standard error, for people who wait. Nothing where nobody watches.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dataset::build::Step;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::render::{bytes, count};

#[derive(Clone, Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
    done: Arc<AtomicU64>,
}

impl Bar {
    pub(super) fn new(json: bool) -> Self {
        let target = if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(10) };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let style = ProgressStyle::with_template("{prefix:9} [{bar:30}] {percent:>3}%  {msg}");
        bar.set_style(style.expect("the template is a constant").progress_chars("=> "));
        Self { bar, done: Arc::default() }
    }

    pub(super) fn step(&self, step: Step) {
        let in_bytes = |done, of| format!("{} of {}", bytes(done), bytes(of));
        let (what, done, of, text) = match step {
            Step::Read { done, of } => ("reading", done, of, in_bytes(done, of)),
            Step::Write { done, of } => ("sorting", done, of, format!("{} of {} rows", count(done), count(of))),
            Step::Hash { done, of } => ("hashing", done, of, in_bytes(done, of)),
            Step::Upload { done, of } => ("uploading", done, of, in_bytes(done, of)),
        };
        self.show(what, done, of, text);
    }

    /// `more` bytes of `of` are done as well.
    pub(super) fn add(&self, what: &'static str, more: u64, of: u64) {
        let done = self.done.fetch_add(more, Ordering::Relaxed) + more;
        self.show(what, done, of, format!("{} of {}", bytes(done), bytes(of)));
    }

    fn show(&self, what: &'static str, done: u64, of: u64, text: String) {
        self.bar.set_prefix(what);
        self.bar.set_length(of);
        self.bar.set_message(text);
        self.bar.set_position(done);
    }
}

/// Whatever ends the work, no half-drawn bar stays behind.
impl Drop for Bar {
    fn drop(&mut self) {
        if Arc::strong_count(&self.done) == 1 {
            self.bar.finish_and_clear();
        }
    }
}
