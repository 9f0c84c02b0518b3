//! Which version a server should serve, and the next step on the way there: a pure function of what is known.
//!
//! ```text
//!  observed (server) ─┐
//!  announced (storage)├─► decide ─► one step: download · verify · open · switch · cancel · close · remove · rest
//!  local (disk, jobs) ─┘
//! ```
//!
//! In this order: a pin overrides all; then what this server was told, until something new is announced; then the
//! announced version; then the one before it. A version that is marked bad, or that this server was told to leave, is
//! chosen by a pin or by name only. What is served goes on being served until another one is open and warm.
//!
//! Deliberately not here: clocks, disks, sockets. Whoever carries a step out looks again afterwards and asks again, so a
//! step may be lost or repeated.

mod facts;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use dataset::VersionId;

pub use facts::{Announced, Failure, Local, Millis, Observed, Order, Policy, Rest, Step, SwitchMode};

/// The next step for one dataset. `announced` is the last announcement known, also from before a restart; `None` if
/// there never was one.
///
/// Carried out one after the other, with no failure, the steps end in [`Step::Rest`]. Cost: O(n log n) in local versions.
pub fn decide(observed: &Observed, announced: Option<&Announced>, local: &Local, policy: Policy) -> Step {
    let facts = Facts { observed, announced, local, policy };
    facts.step()
}

/// The version that should be served, by pin, order or announcement; `None` if none of these names one that is allowed.
pub fn target(observed: &Observed, announced: Option<&Announced>) -> Option<VersionId> {
    let Some(announced) = announced else {
        return observed.order.map(|order| order.version);
    };
    let ordered = observed.order.filter(|order| order.epoch >= announced.epoch).map(|order| order.version);
    let good = |version: &VersionId| !is_bad(observed, Some(announced), *version);
    let chosen = announced.version.filter(good).or(announced.previous.filter(good));
    announced.pin.or(ordered).or(chosen)
}

/// Whether a version is not to be chosen unless somebody names it.
pub fn is_bad(observed: &Observed, announced: Option<&Announced>, version: VersionId) -> bool {
    observed.rolled_back.contains(&version) || announced.is_some_and(|announced| announced.bad.contains(&version))
}

struct Facts<'a> {
    observed: &'a Observed,
    announced: Option<&'a Announced>,
    local: &'a Local,
    policy: Policy,
}

impl Facts<'_> {
    fn step(&self) -> Step {
        let goal = self.goal();
        if let Some(working) = self.local.working {
            let opens_way_back = goal.is_some() && goal == self.observed.serving && self.way_back() == Some(working);
            return match goal == Some(working) || opens_way_back {
                true => Step::Rest(Rest::Working(working)),
                false => Step::Cancel(working),
            };
        }
        let Some(goal) = goal else {
            return self.tidy(None).unwrap_or(Step::Rest(Rest::NothingAllowed));
        };
        match self.towards(goal) {
            Step::Rest(why) => self.tidy(Some(goal)).unwrap_or(Step::Rest(why)),
            // Room first, then bytes.
            step @ Step::Download(_) => self.tidy(Some(goal)).unwrap_or(step),
            step => step,
        }
    }

    /// The version to work at now. While nothing is served that is the best one at hand.
    fn goal(&self) -> Option<VersionId> {
        let target = target(self.observed, self.announced);
        match self.observed.serving {
            Some(_) => target,
            None => self.at_hand(target).or(target),
        }
    }

    /// With nothing served, some version of the local ones, whatever object storage says: the one that should be served,
    /// else (but not against a pin) the one that was, else the newest. What must be verified first comes after the rest.
    fn at_hand(&self, target: Option<VersionId>) -> Option<VersionId> {
        let pinned = self.announced.is_some_and(|announced| announced.pin.is_some());
        let ordered = self.observed.order.map(|order| order.version);
        let last = self.observed.last_served;
        // When switching is for others to tell, a restart is no reason to move on.
        let stays = self.policy.switch == SwitchMode::WhenTold && target != ordered;
        let named = if stays { [last, target] } else { [target, last] };

        let allowed = |version: VersionId| Some(version) == target || (!pinned && !self.is_bad(version));
        [&self.local.verified, &self.local.unverified].into_iter().find_map(|local| {
            let mut candidates = named.into_iter().flatten().chain(local.iter().rev().copied());
            candidates.find(|it| local.contains(it) && allowed(*it) && self.retry_at(*it).is_none())
        })
    }

    fn towards(&self, goal: VersionId) -> Step {
        let Local { verified, unverified, reachable, .. } = self.local;
        if self.observed.serving == Some(goal) {
            return self.way_back().map_or(Step::Rest(Rest::Serving), Step::Open);
        }
        if self.observed.opened.contains(&goal) {
            return match self.may_switch(goal) {
                true => Step::Switch(goal),
                false => Step::Rest(Rest::Ready(goal)),
            };
        }
        if let Some(until) = self.retry_at(goal) {
            return Step::Rest(Rest::BackingOff { version: goal, until });
        }
        match () {
            () if verified.contains(&goal) => Step::Open(goal),
            () if unverified.contains(&goal) => Step::Verify(goal),
            () if *reachable => Step::Download(goal),
            () => Step::Rest(Rest::Unreachable(goal)),
        }
    }

    /// The previous version, if it could be open and is not: after a restart, so that a rollback need not wait for it.
    fn way_back(&self) -> Option<VersionId> {
        let previous = self.observed.previous?;
        let useful = self.local.verified.contains(&previous) && !self.is_bad(previous);
        let idle = !self.observed.opened.contains(&previous) && self.retry_at(previous).is_none();
        (useful && idle).then_some(previous)
    }

    /// A server that serves nothing takes what it can get: there is nobody to disturb.
    fn may_switch(&self, goal: VersionId) -> bool {
        let told = || self.observed.order.is_some_and(|order| order.version == goal);
        self.observed.serving.is_none() || self.policy.switch == SwitchMode::Auto || told()
    }

    /// Until when a version is left alone because of how the last try ended.
    fn retry_at(&self, version: VersionId) -> Option<Millis> {
        let failure = self.local.failures.get(&version)?;
        let told_since = self.observed.order.is_some_and(|order| order.version == version && order.at > failure.at);
        (failure.retry_at > self.local.now && !told_since).then_some(failure.retry_at)
    }

    /// Closes what is open for nothing, then deletes what is too old; nothing as long as nothing is served.
    fn tidy(&self, goal: Option<VersionId>) -> Option<Step> {
        let observed = self.observed;
        let serving = observed.serving?;
        let needed =
            |version: VersionId| version == serving || Some(version) == observed.previous || Some(version) == goal;
        if let Some(idle) = observed.opened.iter().find(|version| !needed(**version)) {
            return Some(Step::Close(*idle));
        }
        let held = |version: VersionId| needed(version) || observed.readers.contains(&version);
        let local: BTreeSet<VersionId> = self.local.verified.union(&self.local.unverified).copied().collect();
        let kept_anyway = usize::from(observed.previous.is_some());
        let spare = self.policy.keep.saturating_sub(kept_anyway);
        let too_old = local.into_iter().rev().filter(|version| !held(*version)).nth(spare);
        too_old.map(Step::Remove)
    }

    fn is_bad(&self, version: VersionId) -> bool {
        is_bad(self.observed, self.announced, version)
    }
}
