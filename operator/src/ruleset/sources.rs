//! From a YaraRuleset's `sources` to texts of rules: what is inline, and what lies in ConfigMaps.

use std::collections::{BTreeMap, BTreeSet};

use crd::{ConfigMapKey, RuleSource, reason};
use k8s_openapi::api::core::v1::ConfigMap;
use types::{MAX_RULESET_BYTES, RulesetSource};

/// Rules whose text is known, each with its place in words: `spec.sources[0]`, or the ConfigMap and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gathered {
    pub(crate) sources: Vec<RulesetSource>,
    /// By namespace of the rules.
    pub(crate) places: BTreeMap<String, String>,
}

/// Why there are no texts to check. The message names the field and the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// The ConfigMaps that are to be fetched.
pub(crate) fn config_maps(sources: &[RuleSource]) -> BTreeSet<&str> {
    sources.iter().filter_map(|source| source.config_map.as_ref()).map(|map| map.name.as_str()).collect()
}

/// `maps` holds each ConfigMap that exists of those that [`config_maps`] names.
pub(crate) fn gather(sources: &[RuleSource], maps: &BTreeMap<String, ConfigMap>) -> Result<Gathered, Refusal> {
    let mut gathered = Gathered::default();
    for (index, source) in sources.iter().enumerate() {
        let field = format!("spec.sources[{index}]");
        match (&source.inline, &source.config_map) {
            (Some(text), None) => {
                gathered.add(
                    without_ending(&source.name).to_owned(),
                    text,
                    format!("{field} ({})", source.name),
                    &field,
                )?;
            }
            (None, Some(wanted)) => gathered.add_map(&source.name, wanted, maps, &field)?,
            (Some(_), Some(_)) | (None, None) => {
                let message = format!("{field} must have either inline or configMap");
                return Err(Refusal { reason: reason::INVALID_SPEC, message });
            }
        }
    }
    let bytes: usize = gathered.sources.iter().map(|source| source.text.len()).sum();
    if bytes > MAX_RULESET_BYTES {
        let message = format!(
            "spec.sources have {bytes} bytes of rules together, a version may have {} MiB; divide them among several YaraRulesets",
            MAX_RULESET_BYTES >> 20
        );
        return Err(Refusal { reason: reason::RULES_TOO_LARGE, message });
    }
    Ok(gathered)
}

impl Gathered {
    fn add_map(
        &mut self,
        name: &str,
        wanted: &ConfigMapKey,
        maps: &BTreeMap<String, ConfigMap>,
        field: &str,
    ) -> Result<(), Refusal> {
        let not_found = |message| Refusal { reason: reason::REFERENCE_NOT_FOUND, message };
        let ConfigMapKey { name: map_name, key } = wanted;
        let Some(map) = maps.get(map_name) else {
            return Err(not_found(format!(
                "{field}.configMap.name: there is no ConfigMap {map_name:?} in this namespace; create it, or correct the name"
            )));
        };
        let texts = map.data.as_ref();
        let is_binary = |key: &str| map.binary_data.as_ref().is_some_and(|data| data.contains_key(key));
        match key {
            Some(key) => {
                if is_binary(key) {
                    let message = format!(
                        "{field}.configMap.key: {key:?} of ConfigMap {map_name:?} is binary; save the rules as UTF-8, and write \
                         other bytes as \\x escapes"
                    );
                    return Err(Refusal { reason: reason::RULES_BROKEN, message });
                }
                let text = texts.and_then(|texts| texts.get(key)).ok_or_else(|| {
                    let keys: Vec<_> = texts.into_iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
                    let has = if keys.is_empty() { "no keys at all".to_owned() } else { keys.join(", ") };
                    not_found(format!("{field}.configMap.key: ConfigMap {map_name:?} has no key {key:?}; it has {has}"))
                })?;
                self.add(without_ending(name).to_owned(), text, format!("ConfigMap {map_name}, key {key}"), field)
            }
            None => {
                let rules = texts.into_iter().flatten().filter(|(key, _)| without_ending(key) != key.as_str());
                let mut found = false;
                for (key, text) in rules {
                    found = true;
                    let namespace = format!("{}/{}", without_ending(name), without_ending(key));
                    self.add(namespace, text, format!("ConfigMap {map_name}, key {key}"), field)?;
                }
                match found {
                    true => Ok(()),
                    false => Err(not_found(format!(
                        "{field}.configMap: ConfigMap {map_name:?} has no key that ends in .yar or .yara; name the key with configMap.key"
                    ))),
                }
            }
        }
    }

    fn add(&mut self, namespace: String, text: &str, place: String, field: &str) -> Result<(), Refusal> {
        if let Some(other) = self.places.get(&namespace) {
            let message = format!(
                "{field}: {place} and {other} are both called {namespace:?}; give one of them another name in {field}.name"
            );
            return Err(Refusal { reason: reason::INVALID_SPEC, message });
        }
        // Editors on Windows put a byte order mark first, libyara refuses it.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text).to_owned();
        self.places.insert(namespace.clone(), place);
        self.sources.push(RulesetSource { namespace, text });
        Ok(())
    }
}

fn without_ending(key: &str) -> &str {
    key.strip_suffix(".yar").or_else(|| key.strip_suffix(".yara")).filter(|rest| !rest.is_empty()).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inline(name: &str, text: &str) -> RuleSource {
        RuleSource { name: name.into(), inline: Some(text.into()), config_map: None }
    }

    fn from_map(name: &str, map: &str, key: Option<&str>) -> RuleSource {
        let config_map = Some(ConfigMapKey { name: map.into(), key: key.map(Into::into) });
        RuleSource { name: name.into(), inline: None, config_map }
    }

    fn maps(keys: &[(&str, &str)]) -> BTreeMap<String, ConfigMap> {
        let data = keys.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
        BTreeMap::from([("rules".to_owned(), ConfigMap { data: Some(data), ..ConfigMap::default() })])
    }

    fn refused(sources: &[RuleSource], maps: &BTreeMap<String, ConfigMap>) -> (&'static str, String) {
        let Refusal { reason, message } = gather(sources, maps).unwrap_err();
        (reason, message)
    }

    #[test]
    fn keys_that_hold_rules_are_taken_and_others_left() {
        let maps = maps(&[("a.yar", "\u{feff}rule a"), ("b.yara", "rule b"), ("README", "no rules"), (".yar", "none")]);
        let gathered = gather(&[from_map("all", "rules", None), inline("c.yar", "rule c")], &maps).unwrap();
        let texts: Vec<_> = gathered.sources.iter().map(|it| (it.namespace.as_str(), it.text.as_str())).collect();
        assert_eq!(texts, [("all/a", "rule a"), ("all/b", "rule b"), ("c", "rule c")]);
        assert_eq!(gathered.places["all/b"], "ConfigMap rules, key b.yara");
        assert_eq!(gathered.places["c"], "spec.sources[1] (c.yar)");
    }

    #[test]
    fn a_named_key_needs_no_ending() {
        let source = from_map("web.yar", "rules", Some("README"));
        let gathered = gather(&[source], &maps(&[("README", "rule a")])).unwrap();
        assert_eq!(gathered.sources[0].namespace, "web");
    }

    #[test]
    fn what_is_missing_is_named_with_its_field() {
        let maps = maps(&[("x.txt", "")]);
        let (reason, message) = refused(&[inline("a", ""), from_map("b", "ruels", None)], &maps);
        assert_eq!(reason, reason::REFERENCE_NOT_FOUND);
        assert!(message.contains("spec.sources[1].configMap.name") && message.contains("\"ruels\""), "{message}");
        let (_, message) = refused(&[from_map("b", "rules", Some("y.txt"))], &maps);
        assert!(message.contains("it has x.txt"), "{message}");
        let (_, message) = refused(&[from_map("b", "rules", None)], &maps);
        assert!(message.contains(".yar or .yara"), "{message}");
    }

    #[test]
    fn two_sources_of_one_name_are_refused() {
        let sources = [inline("a.yar", ""), from_map("a.yara", "rules", Some("x.yar"))];
        let (reason, message) = refused(&sources, &maps(&[("x.yar", "")]));
        assert_eq!(reason, reason::INVALID_SPEC);
        assert!(message.contains("ConfigMap rules, key x.yar and spec.sources[0] (a.yar)"), "{message}");
    }

    #[test]
    fn rules_that_are_too_large_are_refused_with_the_way_to_do_it() {
        let half = "x".repeat(MAX_RULESET_BYTES / 2 + 1);
        let (reason, message) = refused(&[inline("a", &half), inline("b", &half)], &BTreeMap::new());
        assert_eq!(reason, reason::RULES_TOO_LARGE);
        assert!(message.contains("several YaraRulesets"), "{message}");
    }
}
