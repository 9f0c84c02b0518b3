//! What the corpus's datasets know of the files of one segment.
//!
//! ```text
//!  SHA-256 of the files ──► enrichment: one lookup per dataset ──► Facts ──► external variables of rules
//!                                                                    └─────► findings
//! ```
//!
//! Rules that ask for nothing need nothing before the scan: then only files with findings are looked up, after it. A dataset that
//! cannot be asked costs nobody an answer about a file; what is missing is said in the finding.

use std::collections::BTreeMap;

use corpus::Hashes;
use enrichment::{Answer, Datasets};
use findings::{Fact, Knowledge};
use futures::future::join_all;
use types::{FileOrdinal, Name, RulesetSource};

/// Per file, in the order in which the corpus names its datasets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    by_file: BTreeMap<FileOrdinal, Vec<Fact>>,
}

impl Facts {
    pub fn of(&self, file: FileOrdinal) -> &[Fact] {
        self.by_file.get(&file).map_or(&[], Vec::as_slice)
    }

    pub fn has(&self, file: FileOrdinal) -> bool {
        self.by_file.contains_key(&file)
    }

    /// Files that are known to rules as something else than unknown.
    pub fn known(&self) -> BTreeMap<FileOrdinal, engine::Known> {
        let known = self.by_file.iter().map(|(file, facts)| (*file, known(facts)));
        known.filter(|(_, known)| *known != engine::Known::default()).collect()
    }

    /// Looks files up, as far as their hashes are there, and adds what comes of it.
    pub async fn learn(
        &mut self,
        datasets: &Datasets,
        names: &[Name],
        hashes: &Hashes,
        files: impl Iterator<Item = FileOrdinal>,
    ) {
        let wanted = files.filter(|file| !self.has(*file)).filter_map(|file| Some((file, hashes.get(file)?)));
        let (files, keys): (Vec<_>, Vec<_>) = wanted.map(|(file, hash)| (file, hash.to_string())).unzip();
        if files.is_empty() || names.is_empty() {
            return;
        }
        let answers = join_all(names.iter().map(|name| datasets.lookup(name, &keys))).await;
        for (name, answers) in names.iter().zip(answers) {
            for (file, answer) in files.iter().zip(answers) {
                self.by_file.entry(*file).or_default().push(fact(name, answer));
            }
        }
    }
}

fn fact(name: &Name, answer: Answer) -> Fact {
    let (knowledge, version) = match answer {
        Answer::Found { value, version } => (Knowledge::Found(value), version),
        Answer::Missing { version } => (Knowledge::Missing, version),
        Answer::Unavailable(reason) => (Knowledge::Unavailable(reason.to_string()), None),
    };
    Fact {
        dataset: name.to_string(),
        version: version.map(|version| version.to_string()).unwrap_or_default(),
        knowledge,
    }
}

/// What rules may ask, from the JSON objects among the facts. Of each variable the first dataset that has it is believed.
pub fn known(facts: &[Fact]) -> engine::Known {
    let objects: Vec<serde_json::Map<String, serde_json::Value>> = facts
        .iter()
        .filter_map(|fact| match &fact.knowledge {
            Knowledge::Found(value) => serde_json::from_slice(value).ok(),
            Knowledge::Missing | Knowledge::Unavailable(_) => None,
        })
        .collect();
    let first = |name: &str| objects.iter().find_map(|object| object.get(name));
    let good = first("known_good").and_then(serde_json::Value::as_bool).unwrap_or_default();
    let package = objects.iter().find_map(|object| Some((object.get("package")?.as_str()?, object)));
    let (package, version) = match package {
        // A version is the package's where it stands beside its name.
        Some((package, object)) => (package, object.get("package_version").or_else(|| object.get("version"))),
        None => ("", first("package_version")),
    };
    let version = version.and_then(serde_json::Value::as_str).unwrap_or_default();
    let prevalence = first("prevalence").and_then(serde_json::Value::as_i64).unwrap_or_default();
    engine::Known::new(good, package, version, prevalence)
}

/// Whether rules may ask what is known: whether they name one of the variables.
pub fn asks(source: &RulesetSource) -> bool {
    let names: Vec<_> =
        engine::EXTERNALS.iter().filter(|external| external.from_datasets).map(|external| external.name).collect();
    rules::mentions(&source.text, &names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(values: &[&str]) -> Vec<Fact> {
        let fact = |value: &&str| Fact {
            dataset: "d".to_owned(),
            version: "1".to_owned(),
            knowledge: Knowledge::Found(value.as_bytes().to_vec()),
        };
        values.iter().map(fact).collect()
    }

    #[test]
    fn fields_of_a_json_object_are_variables() {
        let all = r#"{"known_good":true,"package":"coreutils","package_version":"9.1-1","prevalence":7,"other":1}"#;
        assert_eq!(known(&facts(&[all])), engine::Known::new(true, "coreutils", "9.1-1", 7));
        let short = r#"{"package":"coreutils","version":"9.1-1"}"#;
        assert_eq!(known(&facts(&[short])), engine::Known::new(false, "coreutils", "9.1-1", 0));
    }

    #[test]
    fn the_first_dataset_that_has_a_variable_is_believed() {
        let values = [
            r#"{"prevalence":7}"#,
            r#"{"prevalence":9,"package":"a","version":"1"}"#,
            r#"{"package":"b","package_version":"2"}"#,
        ];
        assert_eq!(known(&facts(&values)), engine::Known::new(false, "a", "1", 7));
        assert_eq!(
            known(&facts(&[r#"{"package":"a"}"#, r#"{"package_version":"2"}"#])),
            engine::Known::new(false, "a", "", 0)
        );
    }

    #[test]
    fn what_is_no_such_field_is_unknown() {
        let odd = r#"{"known_good":"true","package":7,"package_version":[],"prevalence":1.5}"#;
        for values in [&["{"][..], &["true"], &["[]"], &[odd], &["\u{0}"], &[]] {
            assert_eq!(known(&facts(values)), engine::Known::default(), "{values:?}");
        }
        let away = Fact { knowledge: Knowledge::Unavailable("away".to_owned()), ..facts(&["{}"]).remove(0) };
        assert_eq!(known(&[away]), engine::Known::default());
    }

    #[test]
    fn rules_that_name_a_variable_ask() {
        let source = |text: &str| RulesetSource { namespace: "n".to_owned(), text: text.to_owned() };
        assert!(asks(&source("rule r { condition: not known_good }")));
        assert!(asks(&source("rule r { condition: prevalence > 2 }")));
        assert!(!asks(&source("rule r { condition: filename == \"x\" }")));
        assert!(!asks(&source("rule packaged_files { condition: my_prevalence }")), "a longer word is another");
        assert!(!asks(&source("// package\nrule r { meta: a = \"a package\" condition: true }")), "nobody asks there");
    }

    #[tokio::test]
    async fn a_dataset_that_nobody_serves_is_unavailable_in_each_finding() {
        let mut hashes = Hashes::unknown(3);
        hashes.set(FileOrdinal(1), types::Digest::of(b"x"));
        let mut facts = Facts::default();
        let name: Name = "packages".parse().unwrap();
        facts.learn(&Datasets::default(), &[name], &hashes, (0..3).map(FileOrdinal)).await;
        let [fact] = facts.of(FileOrdinal(1)) else { panic!("one dataset, one fact") };
        assert_eq!((fact.dataset.as_str(), fact.knowledge.state()), ("packages", "unavailable"));
        assert_eq!(facts.of(FileOrdinal(0)), [], "without a hash nobody can be asked");
        assert!(facts.known().is_empty());
    }
}
