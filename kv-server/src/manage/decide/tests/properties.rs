//! Any mixture of events and steps, from which no wrong step may come.

use proptest::prelude::*;

use super::story::{Story, v};
use crate::manage::decide::{Policy, Rest, Step, SwitchMode, is_bad, target};

#[derive(Clone, Copy, Debug)]
enum Event {
    Step,
    /// The step begins, and is still under way when the next thing happens.
    Begin,
    StepFails,
    Announce(u32),
    MarkBad(u32),
    Pin(Option<u32>),
    Tell(u32),
    RollBack,
    Wait(u64),
    Kill,
    Storage(bool),
    Damage(u32),
    ReadersLeave,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let version = 1u32..7;
    let event = prop_oneof![
        8 => Just(Event::Step),
        2 => Just(Event::Begin),
        1 => Just(Event::StepFails),
        2 => version.clone().prop_map(Event::Announce),
        1 => version.clone().prop_map(Event::MarkBad),
        1 => prop::option::of(version.clone()).prop_map(Event::Pin),
        1 => version.clone().prop_map(Event::Tell),
        1 => Just(Event::RollBack),
        1 => (0u64..90_000).prop_map(Event::Wait),
        1 => Just(Event::Kill),
        1 => any::<bool>().prop_map(Event::Storage),
        1 => version.prop_map(Event::Damage),
        1 => Just(Event::ReadersLeave),
    ];
    prop::collection::vec(event, 0..60)
}

fn happen(story: &mut Story, event: Event) {
    let step = story.next();
    check(story, &step);
    match event {
        Event::Step => {
            if let Step::Close(version) = &step {
                story.observed.readers.insert(*version);
            }
            story.local.working = None;
            story.carry_out(&step);
        }
        Event::Begin => {
            if let Step::Download(version) | Step::Verify(version) | Step::Open(version) = step {
                story.local.working = Some(version);
            }
        }
        Event::StepFails => {
            if let Step::Download(version) | Step::Verify(version) | Step::Open(version) = step {
                let sequence = (1..7).find(|n| v(*n) == version).unwrap();
                story.fail(sequence);
            }
        }
        Event::Announce(version) => story.announce(version),
        Event::MarkBad(version) => story.mark_bad(version),
        Event::Pin(version) => story.pin(version),
        Event::Tell(version) => story.tell(version),
        Event::RollBack => {
            if story.observed.serving.is_some() && story.observed.previous.is_some() {
                story.roll_back();
            }
        }
        Event::Wait(time) => story.wait(time),
        Event::Kill => story.kill_and_start(),
        Event::Storage(reachable) => story.local.reachable = reachable,
        Event::Damage(version) => {
            if story.local.verified.remove(&v(version)) {
                story.local.unverified.insert(v(version));
            }
        }
        Event::ReadersLeave => story.observed.readers.clear(),
    }
}

/// What must hold for a step in the situation that it was decided in.
fn check(story: &Story, step: &Step) {
    let Story { observed, announced, local, policy } = story;
    let announced = announced.as_ref();
    let pin = announced.and_then(|announced| announced.pin);
    let wanted = target(observed, announced);
    match step {
        Step::Download(version) | Step::Verify(version) | Step::Open(version) | Step::Switch(version) => {
            let named = Some(*version) == wanted;
            assert!(named || !is_bad(observed, announced, *version), "a bad version, and nobody named it: {step:?}");
            let opens = matches!(step, Step::Open(_)) && observed.serving.is_some();
            assert!(pin.is_none() || opens || pin == Some(*version), "against the pin: {step:?}");
            assert!(local.working.is_none(), "two jobs at once");
            let way_back = matches!(step, Step::Open(_)) && observed.previous == Some(*version);
            assert!(named || way_back || observed.serving.is_none(), "nobody asked for it: {step:?}");
        }
        Step::Close(version) | Step::Remove(version) => {
            assert!(observed.serving.is_some(), "tidied while nothing was served");
            assert_ne!(Some(*version), observed.serving);
            assert_ne!(Some(*version), observed.previous, "rollback would need a download");
            assert_ne!(Some(*version), wanted);
        }
        Step::Cancel(version) => assert_eq!(Some(*version), local.working),
        Step::Rest(_) => {}
    }
    match step {
        Step::Download(version) => {
            assert!(local.reachable);
            assert!(!local.verified.contains(version), "downloaded twice");
        }
        Step::Open(version) => assert!(local.verified.contains(version), "opened, and not verified"),
        Step::Switch(version) => {
            assert!(observed.opened.contains(version), "switched to what is not open");
            let told = observed.order.is_some_and(|order| order.version == *version);
            assert!(policy.switch == SwitchMode::Auto || told || observed.serving.is_none(), "nobody told it to");
        }
        Step::Remove(version) => {
            assert!(!observed.opened.contains(version) && !observed.readers.contains(version), "somebody reads it");
        }
        _ => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn no_life_leads_to_a_wrong_step(
        events in events(),
        when_told in any::<bool>(),
        keep in 0usize..4,
    ) {
        let switch = if when_told { SwitchMode::WhenTold } else { SwitchMode::Auto };
        let mut story = Story::new(Policy { switch, keep });
        for event in events {
            happen(&mut story, event);
        }
    }

    #[test]
    fn when_faults_end_every_life_ends_with_the_version_that_should_be_served(
        events in events(),
        when_told in any::<bool>(),
        keep in 0usize..4,
    ) {
        let switch = if when_told { SwitchMode::WhenTold } else { SwitchMode::Auto };
        let mut story = Story::new(Policy { switch, keep });
        for event in events {
            happen(&mut story, event);
        }
        story.local.reachable = true;
        story.local.working = None;
        story.observed.readers.clear();
        story.wait(1_000_000);
        story.settle();

        let wanted = target(&story.observed, story.announced.as_ref());
        match (story.next(), wanted) {
            (Step::Rest(Rest::Serving), wanted) => prop_assert_eq!(story.observed.serving, wanted),
            (Step::Rest(Rest::Ready(version)), wanted) => {
                prop_assert!(when_told);
                prop_assert!(story.observed.opened.contains(&version));
                prop_assert_eq!(Some(version), wanted);
            }
            (Step::Rest(Rest::NothingAllowed), None) => {}
            (step, wanted) => prop_assert!(false, "{:?} with {:?} wanted", step, wanted),
        }
        let beside = story.local.verified.len() + story.local.unverified.len();
        prop_assert!(story.observed.serving.is_none() || beside <= keep.max(1) + 4, "old versions pile up: {}", beside);
    }
}
