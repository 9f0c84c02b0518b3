//! Names that have to exist: an answer about nothing would read like "nothing was found".

use anyhow::{Result, bail};
use protocol::v1;
use types::Name;

use crate::client::Cluster;

/// What a list of hunts says when there are none.
pub(super) const NO_HUNTS: &str =
    "no hunts yet: it takes a ruleset (dragnet rules push) and a corpus (dragnet corpus add)";

/// Refuses a ruleset or corpus that the cluster does not have. Asks only for what was named.
pub(super) async fn check(cluster: &Cluster, ruleset: Option<&Name>, corpus: Option<&Name>) -> Result<()> {
    if let Some(name) = ruleset
        && !cluster.rulesets().await?.iter().any(|ruleset| is(ruleset.key.as_ref(), name.as_str()))
    {
        bail!("there is no ruleset {name}; `dragnet rules list` shows all");
    }
    if let Some(name) = corpus
        && !cluster.corpora().await?.iter().any(|corpus| is(corpus.key.as_ref(), name.as_str()))
    {
        bail!("there is no corpus {name}; `dragnet corpus list` shows all");
    }
    Ok(())
}

/// Whether a key has the given name.
pub(super) fn is(key: Option<&v1::Key>, name: &str) -> bool {
    key.is_some_and(|key| key.name == name)
}

/// A key's name, empty where the answer has none.
pub(super) fn name(key: Option<&v1::Key>) -> &str {
    key.map_or("", |key| &key.name)
}
