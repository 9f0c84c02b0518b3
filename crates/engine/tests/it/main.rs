//! Rules through libyara: what is found, what is refused, and that a delta finds what a full scan finds.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

mod check;
mod delta;
mod gates;
mod known;
mod literals;
mod random;
mod scan;

use std::{collections::BTreeSet, time::Duration};

use engine::{Compiled, FileFacts, Hit, KindCompiled, KindPart, Part, compile, compile_kinds};
use types::RulesetSource;

const TIMEOUT: Duration = Duration::from_secs(20);

fn source(namespace: &str, text: &str) -> RulesetSource {
    RulesetSource { namespace: namespace.to_owned(), text: text.to_owned() }
}

fn compiled(sources: &[RulesetSource]) -> Compiled {
    compile(&[Part { name: "rules", sources }]).unwrap()
}

/// Hits over one buffer, whose name is `sample.bin`.
fn hits(compiled: &Compiled, bytes: &[u8]) -> Vec<Hit> {
    let facts = FileFacts::new(b"dir/sample.bin", bytes.len() as u64);
    compiled.scanner().unwrap().scan_mem(bytes, &facts, TIMEOUT).unwrap()
}

/// Hits over one buffer with what is compiled for its kind.
fn kind_hits(compiled: &KindCompiled, bytes: &[u8]) -> Vec<Hit> {
    let facts = FileFacts::new(b"dir/sample.bin", bytes.len() as u64);
    compiled.scanner().unwrap().scan_mem(bytes, &facts, TIMEOUT).unwrap()
}

fn compiled_kinds(sources: &rules::KindSources) -> KindCompiled {
    compile_kinds(&[KindPart { name: "rules", sources }]).unwrap()
}

/// Names of the rules that fire on one buffer, with one source of rules.
fn fired(text: &str, bytes: &[u8]) -> BTreeSet<String> {
    hits(&compiled(&[source("n", text)]), bytes).into_iter().map(|hit| hit.rule).collect()
}
