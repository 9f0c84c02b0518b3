use types::Exception;

/// How a scanner ended that should not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// By itself: a signal, the memory limit, an error; or by the hand of somebody else.
    Crashed,
    /// By us: it made no progress in time.
    Hung,
}

/// A file that the scanner had and did not answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InFlight {
    /// Its place in the order in which files were sent to this process, from 1.
    pub sequence: u64,
    /// A scanner died at this file before.
    pub suspect: bool,
}

/// What becomes of a file after its scanner's death.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It only stood in line.
    SendAgain,
    /// The scanner died at it. Perhaps the file is to blame, perhaps somebody killed the process: it gets
    /// a second chance with nothing else in flight.
    TryAlone,
    Excepted(Exception),
}

/// Decides over each file in flight when a scanner died that had last begun the file `at`.
///
/// Only that file is suspected. Files sent before it were scanned and their answers died with the process;
/// files after it were never begun. The fates come in the order of `in_flight`.
///
/// A scanner that hung needs no second trial: it had the whole time limit for this one file.
pub fn after_death(death: Death, at: u64, in_flight: &[InFlight]) -> Vec<Fate> {
    let fate = |file: &InFlight| match (file.sequence == at, death, file.suspect) {
        (false, _, _) => Fate::SendAgain,
        (true, Death::Hung, _) => Fate::Excepted(Exception::TimedOut),
        (true, Death::Crashed, false) => Fate::TryAlone,
        (true, Death::Crashed, true) => Fate::Excepted(Exception::Crashed),
    };
    in_flight.iter().map(fate).collect()
}
