mod delta;
mod diagnose;
mod gate;
mod load;
mod required;
mod split;

use types::RulesetSource;

fn source(namespace: &str, text: &str) -> RulesetSource {
    RulesetSource { namespace: namespace.to_owned(), text: text.to_owned() }
}
