use types::Exception;

use crate::{Death, Fate, InFlight, after_death};

fn files(sequences: [u64; 3], suspect: bool) -> Vec<InFlight> {
    sequences.into_iter().map(|sequence| InFlight { sequence, suspect }).collect()
}

#[test]
fn only_the_file_last_begun_is_suspected() {
    let fates = after_death(Death::Crashed, 8, &files([7, 8, 9], false));
    assert_eq!(fates, [Fate::SendAgain, Fate::TryAlone, Fate::SendAgain]);
}

#[test]
fn the_second_death_at_a_file_condemns_it() {
    let fates = after_death(Death::Crashed, 7, &files([7, 8, 9], true));
    assert_eq!(fates[0], Fate::Excepted(Exception::Crashed));
    assert_eq!(fates[1], Fate::SendAgain, "a suspect that was not at hand keeps its second chance");
}

#[test]
fn a_hang_is_the_files_own() {
    let fates = after_death(Death::Hung, 9, &files([7, 8, 9], false));
    assert_eq!(fates[2], Fate::Excepted(Exception::TimedOut));
}

#[test]
fn a_scanner_that_began_nothing_accuses_nobody() {
    assert!(after_death(Death::Crashed, 0, &files([1, 2, 3], true)).iter().all(|fate| *fate == Fate::SendAgain));
}
