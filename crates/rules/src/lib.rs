//! YARA rulesets as text: loading them from a folder, splitting them into units, working out what a
//! new version adds to an old one, and showing problems the way a compiler does.
//!
//! Nothing here scans or compiles: that is `engine`. Only `load` touches the file system.
//!
//! ```text
//! folder ──load──► LoadedSource (text + line map) ──► engine::check ──► Problem ──render──► terminal
//!                        │
//!                        └──split──► RulesetArtifact ──program(to, from)──► Program ──► engine::compile
//! ```

mod delta;
mod diagnose;
mod gate;
mod kinds;
mod lexical;
mod load;
mod required;
mod split;
mod syntax;

pub use delta::{Owners, Program, owner, program};
pub use diagnose::{MAX_PROBLEMS, Problem, Severity, render};
pub use kinds::{ByKind, KindSources, literals_of, programs_of};
pub use lexical::{MAX_NESTING, mentions, refusals, unclosed};
pub use load::{LoadError, LoadedSource, MAX_INCLUDE_DEPTH, Origin, load};
pub use required::Literals;
pub use split::split;
pub use syntax::{SyntaxProblem, syntax_problems};

#[cfg(test)]
mod tests;
