//! Which file is scanned with what. Pure.

use std::collections::{BTreeMap, BTreeSet};

use types::FileOrdinal;

/// One ruleset of the job, as far as planning goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// The version has units that the one before had not.
    pub adds_units: bool,
    /// Files the version before has no answer for: only the whole version answers for them.
    pub excepted: BTreeSet<FileOrdinal>,
}

/// One ruleset's share of a pass.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Share {
    /// Index of the target in the job.
    pub target: usize,
    /// The whole version instead of what it adds.
    pub whole: bool,
}

/// Files that are scanned with the same program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pass {
    /// By target, never empty.
    pub shares: Vec<Share>,
    /// Ascending, never empty.
    pub files: Vec<FileOrdinal>,
}

/// Sorts the files of a segment into passes: every file is in at most one, so it is read once for all
/// rulesets. A target without new units needs no file but its excepted ones; a file that nobody needs is in no pass.
///
/// Cost: O(files x targets), and as many passes as there are distinct sets of targets that excepted a file.
pub fn passes(files: u32, needs: &[Need]) -> Vec<Pass> {
    let usual: Vec<Share> = shares(needs, |_| false);
    let odd_files: BTreeSet<FileOrdinal> = needs.iter().flat_map(|need| need.excepted.iter().copied()).collect();
    let mut by_shares: BTreeMap<Vec<Share>, Vec<FileOrdinal>> = BTreeMap::new();
    let usual_files: Vec<_> = (0..files).map(FileOrdinal).filter(|file| !odd_files.contains(file)).collect();
    by_shares.insert(usual, usual_files);
    for file in odd_files.into_iter().filter(|file| file.0 < files) {
        let shares = shares(needs, |need| need.excepted.contains(&file));
        by_shares.entry(shares).or_default().push(file);
    }
    let mut passes: Vec<_> = by_shares
        .into_iter()
        .filter(|(shares, files)| !shares.is_empty() && !files.is_empty())
        .map(|(shares, mut files)| {
            files.sort_unstable();
            Pass { shares, files }
        })
        .collect();
    // The large one first: the odd files are often those that take long or kill scanners.
    passes.sort_by_key(|pass| std::cmp::Reverse(pass.files.len()));
    passes
}

fn shares(needs: &[Need], whole: impl Fn(&Need) -> bool) -> Vec<Share> {
    let share = |(target, need): (usize, &Need)| {
        let whole = whole(need);
        (whole || need.adds_units).then_some(Share { target, whole })
    };
    needs.iter().enumerate().filter_map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn need(adds_units: bool, excepted: &[u32]) -> Need {
        Need { adds_units, excepted: excepted.iter().copied().map(FileOrdinal).collect() }
    }

    /// Targets, each with whether it is whole, and files.
    type Told = (Vec<(usize, bool)>, Vec<u32>);

    fn told(passes: &[Pass]) -> Vec<Told> {
        let tell = |pass: &Pass| {
            let shares = pass.shares.iter().map(|share| (share.target, share.whole)).collect();
            (shares, pass.files.iter().map(|file| file.0).collect())
        };
        passes.iter().map(tell).collect()
    }

    #[test]
    fn all_rulesets_ride_in_one_pass() {
        let passes = passes(3, &[need(true, &[]), need(true, &[])]);
        assert_eq!(told(&passes), [(vec![(0, false), (1, false)], vec![0, 1, 2])]);
    }

    #[test]
    fn an_excepted_file_gets_the_whole_version_of_its_ruleset_and_the_delta_of_the_others() {
        let passes = passes(4, &[need(true, &[2]), need(true, &[])]);
        assert_eq!(
            told(&passes),
            [(vec![(0, false), (1, false)], vec![0, 1, 3]), (vec![(0, true), (1, false)], vec![2])]
        );
    }

    #[test]
    fn a_version_that_adds_nothing_reads_only_its_excepted_files() {
        let passes = passes(4, &[need(false, &[1, 3])]);
        assert_eq!(told(&passes), [(vec![(0, true)], vec![1, 3])]);
        assert_eq!(super::passes(4, &[need(false, &[])]), []);
    }

    #[test]
    fn a_file_is_never_in_two_passes() {
        let needs = [need(true, &[0, 1, 2]), need(false, &[1, 2, 3]), need(true, &[2, 99])];
        let passes = passes(5, &needs);
        let mut files: Vec<_> = passes.iter().flat_map(|pass| pass.files.iter().map(|file| file.0)).collect();
        files.sort_unstable();
        assert_eq!(files, [0, 1, 2, 3, 4]);
    }
}
