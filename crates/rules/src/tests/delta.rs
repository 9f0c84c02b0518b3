use types::FileKind;

use super::source;
use crate::{KindSources, owner, program, programs_of, split};

#[test]
fn from_nothing_everything_is_new() {
    let to = split(vec![source("b", "rule x { condition: true }"), source("a", "rule x { condition: true }")]);
    let program = program(&to, None);
    assert_eq!(program.sources.get(FileKind::Other), to.sources);
    assert_eq!(program.sources.bytes(), to.source_bytes(), "one list serves all kinds");
    assert_eq!(program.owners, owner(&to));
    assert_eq!(
        program.owners.iter().map(|(namespace, rule, _)| (namespace, rule)).collect::<Vec<_>>(),
        [("a", "x"), ("b", "x")]
    );
    assert!(program.carried.is_empty());
}

#[test]
fn only_what_is_new_is_compiled_and_only_its_findings_count() {
    let from = split(vec![
        source("a", "rule x { condition: true } rule y { condition: x }"),
        source("b", "rule z { condition: true }"),
    ]);
    let to = split(vec![
        source("a", "rule x { condition: true } rule gap { condition: true } rule y { condition: not x }"),
        source("b", "rule z { condition: true }"),
    ]);
    let program = program(&to, Some(&from));
    let sources = program.sources.get(FileKind::Other);
    assert_eq!(sources.len(), 1);
    let expected = "rule x { condition: true }\nrule gap { condition: true }\nrule y { condition: not x }";
    assert_eq!(sources[0].text, expected);
    assert_eq!(program.owners.iter().map(|(_, rule, _)| rule).collect::<Vec<_>>(), ["gap", "y"]);
    assert_eq!(program.owners.get("a", "x"), None, "its findings are carried");
    assert_eq!(program.carried.len(), 2);
    assert!(program.owners.get("a", "y").is_some_and(|unit| !program.carried.contains(&unit)));
}

#[test]
fn nothing_new_means_nothing_to_compile() {
    let from = split(vec![source("a", "rule x { condition: true }")]);
    let to = split(vec![source("a", "rule x { /* better */ condition: true }")]);
    let program = program(&to, Some(&from));
    assert!(program.sources.is_empty() && program.owners.is_empty());
    assert_eq!(program.carried, to.unit_digests());
}

#[test]
fn sets_of_rules_are_written_out() {
    let text =
        "rule a1 { condition: true }\nrule b { condition: 2 of (a *, c*) } rule c { condition: file_size * (2) > 3 }";
    let whole = "rule c1 { condition: true } ".to_owned() + text;
    let program = program(&split(vec![source("n", &whole)]), None);
    assert_eq!(
        program.sources.get(FileKind::Other)[0].text.replace('\n', " "),
        whole.replace("(a *, c*)", "(a1, c1)").replace('\n', " ")
    );
}

#[test]
fn a_kind_of_file_gets_what_could_match_it_and_the_modules_that_takes() {
    let text = "import \"pe\"\nimport \"elf\"\nrule every { condition: filesize > 3 }\nrule e { condition: elf.type == 2 }\nrule p { condition: pe.is_pe and every }\n";
    let only_any = source("other", "rule every { condition: true }");
    let sources = program(&split(vec![source("n", text), only_any.clone()]), None).sources;
    let text_for = |kind| sources.get(kind)[0].text.clone();
    assert_eq!(text_for(FileKind::Other), "rule every { condition: filesize > 3 }");
    assert_eq!(
        text_for(FileKind::Elf),
        "import \"elf\"\nrule every { condition: filesize > 3 }\nrule e { condition: elf.type == 2 }"
    );
    assert_eq!(
        text_for(FileKind::Pe),
        "import \"pe\"\nrule every { condition: filesize > 3 }\nrule p { condition: pe.is_pe and every }"
    );
    assert!(FileKind::ALL.iter().all(|kind| sources.get(*kind)[1] == only_any));
    assert_eq!(FileKind::ALL.map(|kind| sources.list_of(kind)), [0, 1, 2]);
}

#[test]
fn kinds_with_the_same_sources_share_a_program() {
    let sources = |text| program(&split(vec![source("n", text)]), None).sources;
    let any = sources("rule any { condition: true }");
    let elf = sources("rule e { condition: uint32be(0) == 0x7f454c46 }");
    let pe = sources("rule p { condition: uint16(0) == 0x5a4d }");
    let programs = |parts: &[&KindSources]| {
        let (kinds, of) = programs_of(parts.iter().copied());
        (kinds, FileKind::ALL.map(|kind| *of.get(kind)))
    };
    assert_eq!(programs(&[]), (vec![FileKind::Other], [0, 0, 0]));
    assert_eq!(programs(&[&any, &any]), (vec![FileKind::Other], [0, 0, 0]));
    assert_eq!(programs(&[&any, &elf]), (vec![FileKind::Other, FileKind::Elf], [0, 1, 0]));
    assert_eq!(programs(&[&pe, &elf]), (FileKind::ALL.to_vec(), [0, 1, 2]));
    assert_eq!((elf.get(FileKind::Pe), elf.is_empty(), elf.bytes_for(FileKind::Other)), (&[][..], false, 0));
}
