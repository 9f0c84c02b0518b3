use dataset::VersionId;

use crate::manage::decide::{Announced, Failure, Local, Millis, Observed, Order, Policy, Step, SwitchMode, decide};

pub(super) const AUTO: Policy = Policy { switch: SwitchMode::Auto, keep: 1 };
pub(super) const WHEN_TOLD: Policy = Policy { switch: SwitchMode::WhenTold, keep: 1 };
const BACK_OFF: Millis = 60_000;

pub(super) fn v(sequence: u32) -> VersionId {
    format!("{sequence:06}-{:08x}", sequence * 0x0101_0101).parse().unwrap()
}

/// One dataset of one server: carries steps out, as the manager would, and lets faults happen.
#[derive(Clone, Debug)]
pub(super) struct Story {
    pub(super) observed: Observed,
    pub(super) announced: Option<Announced>,
    pub(super) local: Local,
    pub(super) policy: Policy,
}

impl Story {
    /// An empty server whose object storage announces version 1.
    pub(super) fn new(policy: Policy) -> Self {
        let local = Local { reachable: true, now: 1_000_000, ..Local::default() };
        let mut story = Self { observed: Observed::default(), announced: None, local, policy };
        story.announce(1);
        story
    }

    pub(super) fn serving(version: u32, policy: Policy) -> Self {
        let mut story = Self::new(policy);
        (1..=version).for_each(|version| {
            story.announce(version);
            story.tell(version);
            story.settle();
        });
        story.observed.order = None;
        assert_eq!(story.observed.serving, Some(v(version)));
        story
    }

    pub(super) fn next(&self) -> Step {
        decide(&self.observed, self.announced.as_ref(), &self.local, self.policy)
    }

    #[track_caller]
    pub(super) fn expect(&mut self, steps: impl IntoIterator<Item = Step>) {
        for expected in steps {
            let step = self.next();
            assert_eq!(step, expected, "in {self:#?}");
            self.carry_out(&step);
        }
    }

    /// Carries steps out until there is nothing to do.
    pub(super) fn settle(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        loop {
            let step = self.next();
            if matches!(step, Step::Rest(_)) {
                return steps;
            }
            assert!(steps.len() < 100, "no end: {steps:?}");
            self.carry_out(&step);
            steps.push(step);
        }
    }

    /// Every step succeeds at once.
    pub(super) fn carry_out(&mut self, step: &Step) {
        match *step {
            Step::Download(version) | Step::Verify(version) => {
                self.local.unverified.remove(&version);
                self.local.failures.remove(&version);
                self.local.verified.insert(version);
            }
            Step::Open(version) => drop(self.observed.opened.insert(version)),
            Step::Switch(version) => {
                let before = self.observed.last_served.replace(version);
                self.observed.serving = Some(version);
                if before.as_ref() != Some(&version) {
                    self.observed.previous = before;
                }
            }
            Step::Cancel(_) => self.local.working = None,
            Step::Close(version) => drop(self.observed.opened.remove(&version)),
            Step::Remove(version) => {
                self.local.verified.remove(&version);
                self.local.unverified.remove(&version);
            }
            Step::Rest(_) => {}
        }
    }

    pub(super) fn announce(&mut self, version: u32) {
        let announced = self.announced.get_or_insert_default();
        announced.epoch += 1;
        if announced.version != Some(v(version)) {
            announced.previous = announced.version.replace(v(version));
        }
    }

    pub(super) fn mark_bad(&mut self, version: u32) {
        let announced = self.announced.get_or_insert_default();
        announced.epoch += 1;
        announced.bad.insert(v(version));
    }

    pub(super) fn pin(&mut self, version: Option<u32>) {
        let announced = self.announced.get_or_insert_default();
        announced.epoch += 1;
        announced.pin = version.map(v);
    }

    pub(super) fn tell(&mut self, version: u32) {
        let epoch = self.announced.as_ref().map_or(0, |announced| announced.epoch);
        self.observed.rolled_back.remove(&v(version));
        self.observed.order = Some(Order { version: v(version), epoch, at: self.local.now });
    }

    /// As the server does when it is told to roll back.
    pub(super) fn roll_back(&mut self) {
        let (leave, back) = (self.observed.serving.unwrap(), self.observed.previous.unwrap());
        let epoch = self.announced.as_ref().map_or(0, |announced| announced.epoch);
        self.observed.rolled_back.insert(leave);
        self.observed.order = Some(Order { version: back, epoch, at: self.local.now });
    }

    pub(super) fn fail(&mut self, version: u32) {
        let at = self.local.now;
        self.local.failures.insert(v(version), Failure { at, retry_at: at + BACK_OFF });
    }

    pub(super) fn wait(&mut self, time: Millis) {
        self.local.now += time;
    }

    /// Everything in memory is gone; disk and last announcement are there.
    pub(super) fn kill_and_start(&mut self) {
        self.local.working = None;
        self.local.reachable = false;
        self.observed.serving = None;
        self.observed.opened.clear();
        self.observed.readers.clear();
    }
}
