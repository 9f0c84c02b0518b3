//! Compiling rules and scanning bytes with libyara.
//!
//! Several rulesets compile into one program, so that a file is read once for all of them; every hit says
//! which of them it belongs to. What a hit means, and whether it counts, is decided by the callers, with
//! `rules::Owners`. Nothing here opens files, starts threads or processes, or limits memory.
//!
//! libyara keeps a few limits of its own that make a scan's answer depend on nothing but rules and bytes:
//! a pattern stops matching after a million matches in one file.

mod check;
mod compile;
mod externals;
mod kinds;
mod prefilter;
mod scan;

pub use check::check;
pub use compile::{CompileFailure, Compiled, Part, PartFailure, compile};
pub use externals::{EXTERNALS, External, ExternalKind, FileFacts, Known};
pub use kinds::{KindCompiled, KindPart, KindScanner, compile_kinds};
pub use scan::{Hit, MAX_MATCH_DATA, MAX_MATCHES_PER_RULE, MetadataValue, PatternMatch, ScanError, Scanner};

/// Recorded with every finding.
pub const ENGINE_NAME: &str = "libyara";

/// The version of libyara that is built in: feature `bundled-4_5_5` of the `yara` crate.
pub const fn engine_version() -> &'static str {
    "4.5.5"
}
