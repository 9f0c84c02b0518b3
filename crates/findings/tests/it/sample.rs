use findings::{Fact, Finding, Knowledge, Match};
use types::Digest;

pub(crate) fn finding(file: u32, namespace: &str, rule: &str) -> Finding {
    Finding {
        tenant: "default".to_owned(),
        ruleset: "web-shells".to_owned(),
        version: 3,
        corpus: "usr-bin".to_owned(),
        segment: 7,
        file,
        key: b"odd \xff name".to_vec(),
        path: b"/srv/odd \xff name".to_vec(),
        size: 1 << 40,
        sha256: Digest::of(&file.to_le_bytes()),
        namespace: namespace.to_owned(),
        rule: rule.to_owned(),
        tags: vec!["webshell".to_owned(), "php".to_owned()],
        metadata: r#"[["author","J\"D"],["score",75],["author","again"],["exact",true]]"#.to_owned(),
        unit: Digest::of(rule.as_bytes()),
        engine: "yara".to_owned(),
        engine_version: "4.5.5".to_owned(),
        matches: vec![
            Match { pattern: "$a".to_owned(), offset: 0, length: 3, data: b"\x00\xff\n".to_vec() },
            Match { pattern: "$b".to_owned(), offset: u64::MAX, length: 5_000, data: vec![b'x'; 200] },
        ],
        matches_truncated: true,
        found_in: 2,
        enrichment: Vec::new(),
    }
}

pub(crate) fn enriched() -> Finding {
    let fact = |dataset: &str, version: &str, knowledge| Fact {
        dataset: dataset.to_owned(),
        version: version.to_owned(),
        knowledge,
    };
    let value = br#"{"package":"coreutils","version":"9.1-1"}"#.to_vec();
    let enrichment = vec![
        fact("packages", "000002-0a1b2c3d", Knowledge::Found(value)),
        fact("senders", "", Knowledge::Found(b"\x00\xff".to_vec())),
        fact("domains", "000001-00000000", Knowledge::Missing),
        fact("mailboxes", "", Knowledge::Unavailable("kv:6379 did not answer within 2s".to_owned())),
    ];
    Finding { enrichment, ..finding(9, "a", "r1") }
}

pub(crate) fn bare(file: u32) -> Finding {
    Finding { tags: vec![], matches: vec![], metadata: "[]".to_owned(), key: vec![], ..finding(file, "", "always") }
}

pub(crate) fn some() -> Vec<Finding> {
    vec![finding(1, "a", "r1"), finding(1, "a", "r2"), finding(1, "b", "r1"), bare(2), finding(3, "a", "r1")]
}
