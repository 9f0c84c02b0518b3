//! `statsd-filter explain`: which rule decides about a name, in one line.

use crate::rules::{Reason, Rules, Verdict};

/// Says what becomes of `line`, a metric's name or a whole line, and why.
pub fn explain(rules: &Rules, line: &str) -> String {
    let bytes = line.as_bytes();
    match rules.decide(bytes) {
        Verdict::Drop(Reason::BlockedPrefix(entry)) => {
            let prefix = rules.blocked.entry(entry);
            format!("{line}: dropped by metric_blocklist, entry {}: {prefix:?}", entry + 1)
        }
        Verdict::Drop(Reason::BlockedPattern) => {
            let (entry, pattern) = rules.blocked_patterns.first_match(bytes).expect("a pattern matched a moment ago");
            format!("{line}: dropped by metric_blocklist_regex, entry {}: {pattern}", entry + 1)
        }
        Verdict::Drop(Reason::NotAllowed) => format!("{line}: dropped, nothing in the allow list matches"),
        Verdict::Forward => format!("{line}: forwarded, {}", why_forwarded(rules, bytes)),
    }
}

fn why_forwarded(rules: &Rules, line: &[u8]) -> String {
    let Some(allowed) = &rules.allowed else { return "no rule matches".to_owned() };
    if let Some(entry) = allowed.prefixes.find(line) {
        return format!("metric_allowlist, entry {}: {:?}", entry + 1, allowed.prefixes.entry(entry));
    }
    let (entry, pattern) = allowed.patterns.first_match(line).expect("the allow list let it pass a moment ago");
    format!("metric_allowlist_regex, entry {}: {pattern}", entry + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Allowed, Patterns, PrefixList};

    #[test]
    fn the_rule_that_decides_is_named_with_its_entry() {
        let allowed = Allowed { prefixes: list(&["app.", "web."]), patterns: Patterns::new(["^db[0-9]"]).unwrap() };
        let blocked = Patterns::new(["x$", r"debug\b"]).unwrap();
        let mut prefixes = PrefixList::default();
        prefixes.push("app.noise").unwrap();
        let rules = Rules::new(prefixes, blocked, Some(allowed));

        for (name, expected) in [
            ("app.noise.a", r#"dropped by metric_blocklist, entry 1: "app.noise""#),
            ("app.debug:1|c", r"dropped by metric_blocklist_regex, entry 2: debug\b"),
            ("other", "dropped, nothing in the allow list matches"),
            ("web.requests", r#"forwarded, metric_allowlist, entry 2: "web.""#),
            ("db7.rows", "forwarded, metric_allowlist_regex, entry 1: ^db[0-9]"),
        ] {
            assert_eq!(explain(&rules, name), format!("{name}: {expected}"));
        }
    }

    #[test]
    fn without_rules_everything_is_forwarded() {
        let rules = Rules::new(PrefixList::default(), Patterns::default(), None);
        assert_eq!(explain(&rules, "a"), "a: forwarded, no rule matches");
    }

    fn list(entries: &[&str]) -> crate::rules::Prefixes {
        let mut list = PrefixList::default();
        entries.iter().for_each(|entry| list.push(entry).unwrap());
        list.compile()
    }
}
