use serde_json::Value;

/// What one dataset knew of the file when the finding was made.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Fact {
    pub dataset: String,
    /// The version that was asked; empty where nobody said.
    pub version: String,
    pub knowledge: Knowledge,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Knowledge {
    /// The value, as the dataset holds it.
    Found(Vec<u8>),
    /// The dataset was asked, and does not have the file.
    Missing,
    /// The dataset was not asked, or did not answer; why, for people. Says nothing about the file.
    Unavailable(String),
}

impl Knowledge {
    /// One word from a closed set.
    pub fn state(&self) -> &'static str {
        match self {
            Self::Found(_) => "found",
            Self::Missing => "missing",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl Fact {
    /// The value for programs: objects and arrays of JSON as such, everything else as text. What is not UTF-8 in it is shown by
    /// replacement characters; the Parquet column has the bytes. Nothing without a value.
    pub fn json(&self) -> Option<Value> {
        let Knowledge::Found(value) = &self.knowledge else { return None };
        match serde_json::from_slice(value) {
            Ok(parsed @ (Value::Object(_) | Value::Array(_))) => Some(parsed),
            _ => Some(Value::String(String::from_utf8_lossy(value).into_owned())),
        }
    }

    /// A few words for people: package and version where the value names them, else the value, else why there is none.
    /// Not escaped: datasets come from anywhere.
    pub fn words(&self) -> String {
        match &self.knowledge {
            Knowledge::Missing => "-".to_owned(),
            Knowledge::Unavailable(_) => "unavailable".to_owned(),
            Knowledge::Found(value) => package(value).unwrap_or_else(|| String::from_utf8_lossy(value).into_owned()),
        }
    }
}

fn package(value: &[u8]) -> Option<String> {
    let Ok(Value::Object(fields)) = serde_json::from_slice(value) else { return None };
    let text = |name| fields.get(name).and_then(Value::as_str).filter(|text: &&str| !text.is_empty());
    let package = text("package")?;
    Some(match text("package_version").or(text("version")) {
        Some(version) => format!("{package} {version}"),
        None => package.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(value: &str) -> Fact {
        let knowledge = Knowledge::Found(value.as_bytes().to_vec());
        Fact { dataset: "packages".to_owned(), version: String::new(), knowledge }
    }

    #[test]
    fn a_package_is_named_with_its_version() {
        let words = |value| found(value).words();
        assert_eq!(words(r#"{"package":"coreutils","version":"9.1-1","known_good":true}"#), "coreutils 9.1-1");
        assert_eq!(words(r#"{"package":"coreutils","package_version":"9.1-1","version":"x"}"#), "coreutils 9.1-1");
        assert_eq!(words(r#"{"package":"coreutils"}"#), "coreutils");
        for other in ["seen in 1999", "", "[1]", r#"{"package":7}"#, r#"{"version":"9"}"#] {
            assert_eq!(words(other), other);
        }
    }

    #[test]
    fn what_is_missing_and_what_is_unavailable_are_told_apart() {
        let fact = |knowledge| Fact { knowledge, ..found("") };
        assert_eq!(fact(Knowledge::Missing).words(), "-");
        assert_eq!(fact(Knowledge::Unavailable("away".to_owned())).words(), "unavailable");
        assert_eq!(fact(Knowledge::Missing).json(), None);
    }

    #[test]
    fn values_are_json_only_where_nothing_is_lost_by_it() {
        assert_eq!(found(r#"{"a":1}"#).json(), Some(json!({"a": 1})));
        assert_eq!(found("007").json(), Some(json!("007")));
        assert_eq!(found("7").json(), Some(json!("7")));
    }
}
