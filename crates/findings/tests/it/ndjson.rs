use findings::{Finding, Match, ndjson};
use serde_json::{Value, json};

use crate::sample::{bare, enriched, finding};

fn parsed(path: &str, findings: &[&Finding]) -> Value {
    let line = ndjson::line(path, findings);
    assert!(!line.contains('\n'), "{line}");
    serde_json::from_str(&line).unwrap()
}

#[test]
fn the_keys_of_yr_come_first_and_are_complete() {
    let mut finding = finding(1, "ns", "rule1");
    finding.matches.truncate(1);
    let line = ndjson::line("dir/a\"b", &[&finding]);
    let expected = concat!(
        r#"{"path":"dir/a\"b","rules":[{"identifier":"rule1","namespace":"ns","#,
        r#""meta":[["author","J\"D"],["score",75],["author","again"],["exact",true]],"#,
        r#""tags":["webshell","php"],"#,
        r#""strings":[{"identifier":"$a","offset":0,"match":"\\x00\\xff\\n","#,
    );
    assert!(line.starts_with(expected), "{line}");
}

#[test]
fn our_own_keys_say_which_version_found_what_where() {
    let finding = finding(1, "ns", "rule1");
    let line = parsed("p", &[&finding]);
    assert_eq!(line["sha256"], json!(finding.sha256.to_string()));
    assert_eq!((&line["corpus"], &line["segment"], &line["size"]), (&json!("usr-bin"), &json!(7), &json!(1u64 << 40)));
    let rule = &line["rules"][0];
    assert_eq!((&rule["ruleset"], &rule["version"], &rule["found_in"]), (&json!("web-shells"), &json!(3), &json!(2)));
    assert_eq!((&rule["unit"], &rule["strings_truncated"]), (&json!(finding.unit.to_string()), &json!(true)));
}

#[test]
fn what_datasets_knew_is_told_with_each_rule() {
    let line = parsed("p", &[&enriched(), &bare(9)]);
    let expected = json!([
        {"dataset": "packages", "version": "000002-0a1b2c3d", "state": "found",
         "value": {"package": "coreutils", "version": "9.1-1"}},
        {"dataset": "senders", "version": null, "state": "found", "value": "\u{0}\u{fffd}"},
        {"dataset": "domains", "version": "000001-00000000", "state": "missing", "value": null},
        {"dataset": "mailboxes", "version": null, "state": "unavailable", "value": null,
         "reason": "kv:6379 did not answer within 2s"},
    ]);
    assert_eq!(line["rules"][0]["enrichment"], expected);
    assert_eq!(line["rules"][1].get("enrichment"), None, "nothing asked, nothing said");
}

#[test]
fn all_findings_of_a_file_are_one_line_in_the_order_given() {
    let (first, second) = (finding(1, "z", "r"), bare(1));
    let line = parsed("p", &[&first, &second]);
    let names: Vec<_> = line["rules"].as_array().unwrap().iter().map(|rule| rule["identifier"].clone()).collect();
    assert_eq!(names, ["r", "always"]);
    assert_eq!((&line["rules"][1]["strings"], &line["rules"][1]["meta"]), (&json!([]), &json!([])));
    assert_eq!(parsed("p", &[]), json!({"path": "p", "rules": []}));
}

#[test]
fn long_matches_are_cut_as_yr_cuts_them() {
    let shown = |length: u64, data: &[u8]| {
        let found = Match { pattern: "$a".to_owned(), offset: 1, length, data: data.to_vec() };
        let finding = Finding { matches: vec![found], ..bare(1) };
        parsed("p", &[&finding])["rules"][0]["strings"][0]["match"].as_str().unwrap().to_owned()
    };
    assert_eq!(shown(120, &[b'x'; 120]), "x".repeat(120));
    assert_eq!(shown(121, &[b'x'; 121]), "x".repeat(120) + " ... 1 more bytes");
    assert_eq!(shown(5_000, &[b'x'; 50]), "x".repeat(50) + " ... 4950 more bytes");
    assert_eq!(shown(6, b"\t\r\n'\"\\"), r#"\t\r\n\'\"\\"#);
    assert_eq!(shown(0, b""), "");
}
