use types::{Gate, RulesetArtifact};

use super::source;
use crate::split;

const IMPORTS: &str = "import \"pe\"\nimport \"elf\"\nimport \"math\"\n";

fn gate_in(artifact: &RulesetArtifact, rule: &str) -> Gate {
    artifact.units.iter().find(|unit| unit.rules == [rule]).unwrap_or_else(|| panic!("no unit {rule}")).gate
}

fn gate_of(condition: &str) -> Gate {
    let text = format!(
        "{IMPORTS}rule is_elf {{ condition: uint32be(0) == 0x7f454c46 }}
        private rule is_pe {{ condition: is_elf and filesize < 3 or pe.is_pe }}
        rule is_any {{ condition: is_elf or filesize < 3 }}
        private rule two_steps {{ condition: filesize > 3 and is_elf }}
        rule tested {{ strings: $a = \"a and b\" $b = \"b\" condition: ($a or $b or true) and {condition} }}"
    );
    gate_in(&split(vec![source("n", &text)]), "tested")
}

#[test]
fn conditions_that_hold_for_elf_files_alone() {
    for condition in [
        "uint32be(0) == 0x7f454c46",
        "uint32be(0)==0x7F454C46 and filesize > 3",
        "uint32(0) == 0x464c457f",
        "0x464c457f == uint32(0x0)",
        "uint32be( 0 ) == 2135247942",
        "filesize > 3 and (not $a and (elf.type == 2 and true))",
        "elf.type == elf.ET_EXEC",
        "elf.type != elf.ET_REL",
        "elf.ET_REL != elf.type",
        "elf.machine",
        "elf.sh_offset + elf.number_of_sections * elf.sh_entry_size + 64KB < filesize",
        "filesize - -(~elf.sh_offset & 7) > 3",
        "(elf.type & 7) == 2",
        "elf.sections[0].name == \"x\"",
        "elf.sections[0].name matches /x and y/",
        "elf.telfhash() == \"t1\"",
        "elf.import_md5() == \"x\"",
        "for any s in elf.sections : (s.type == 1 or true)",
        "for all s in elf.segments : (s.type == 1)",
        "for none s in elf.dynamic : (s.type == 1)",
        "for 2 s in elf.symtab : (s.type == 1)",
        "not elf.type == 2 and elf.machine == 3",
        "is_elf",
        "(is_elf)",
        "two_steps and $a",
        "is_elf and ($a or $b)",
        "math.entropy(0, filesize) > elf.type",
    ] {
        assert_eq!(gate_of(condition), Gate::Elf, "{condition}");
    }
}

#[test]
fn conditions_that_hold_for_pe_files_alone() {
    for condition in [
        "uint16(0) == 0x5a4d",
        "uint16be(0) == 0x4D5A and uint32(uint32(0x3c)) == 0x00004550",
        "pe.is_pe",
        "pe.is_pe == 1",
        "pe.number_of_sections >= 2",
        "pe.sections[0].raw_data_size == 0",
        "pe.linker_version.major == 6",
        "pe.imports(\"kernel32.dll\", \"VirtualAlloc\")",
        "pe.imports(\"kernel32.dll\", \"VirtualAlloc\") == 0",
        "pe.is_dll()",
        "pe.exports(/a or b/)",
        "pe.rva_to_offset(3) < 3",
        "for any s in pe.sections : (s.name == \"x\")",
    ] {
        assert_eq!(gate_of(condition), Gate::Pe, "{condition}");
    }
}

#[test]
fn conditions_that_hold_for_both_and_no_others() {
    for condition in [
        "(elf.type == 2 or pe.is_pe)",
        "(uint32be(0) == 0x7f454c46 or uint16(0) == 0x5a4d)",
        "is_pe",
        "any of (is_elf, is_pe)",
        "2 of (is_e*, is_p*)",
        "all of (is_elf, is_pe)",
        "($a and is_elf or filesize > 3 and (pe.is_dll() or pe.is_pe)) and is_pe",
    ] {
        assert_eq!(gate_of(condition), Gate::ElfOrPe, "{condition}");
    }
    assert_eq!(gate_of("is_pe and elf.type == 2"), Gate::Elf);
    assert_eq!(gate_of("any of (is_e*) and is_pe"), Gate::Elf);
}

#[test]
fn conditions_that_prove_nothing() {
    for condition in [
        "true",
        "not elf.type == 2",
        "not (elf.type == 2)",
        "not is_elf",
        "not pe.is_pe",
        "not (not is_elf)",
        "defined elf.type",
        "not defined elf.type",
        "(is_elf or true)",
        "is_any",
        "($a and is_elf or true)",
        "elf.ET_EXEC == 2",
        "elf.SHT_NULL < 3",
        "pe.is_pe == 0",
        "pe.is_pe < 1",
        "pe.is_pe != 1",
        "1 - pe.is_pe == 1",
        "pe.MACHINE_I386 == 0x14c",
        "uint32be(0) != 0x7f454c46",
        "uint32be(0) == 0x7f454c47",
        "uint32be(4) == 0x7f454c46",
        "uint32(0) == 0x7f454c46",
        "uint16be(0) == 0x5a4d",
        "uint32be(0) == 0x7f454c46 + 1",
        "uint32be(0) & 0x7f454c46 == 0x7f454c46",
        "uint32be(0) >= 0x7f454c46",
        "uint8(elf.entry_point) == 1",
        "math.entropy(elf.entry_point, 3) > 1",
        "pe.sections[elf.type].name == \"x\" or true",
        "any of (is_elf, is_any)",
        "none of (is_elf, is_pe)",
        "0 of (is_elf, is_pe)",
        "1 of (is_*)",
        "any of (missing*)",
        "any of ($a, $b)",
        "any of them",
        "not any of (is_elf, is_pe)",
        "50% of (is_elf, is_pe)",
        "for any i in (1..elf.number_of_sections) : (i == 1)",
        "for any s in (1, 2) : (elf.type == 2)",
        "for all i in (1..2) : (is_elf)",
        "$a at elf.entry_point",
        "$a at 0",
        "#a > 3",
        "filesize > 3",
        "filename == \"elf.type\"",
        "for any of them : ($ at elf.entry_point)",
    ] {
        assert_eq!(gate_of(condition), Gate::Any, "{condition}");
    }
}

#[test]
fn an_or_at_the_top_is_as_free_as_its_freest_operand() {
    let text = format!(
        "{IMPORTS}rule a {{ condition: elf.type == 2 and filesize > 1 or filesize > 3 }} rule b {{ condition: filesize > 3 or a }}"
    );
    let artifact = split(vec![source("n", &text)]);
    assert_eq!((gate_in(&artifact, "a"), gate_in(&artifact, "b")), (Gate::Any, Gate::Any));
}

#[test]
fn a_field_is_only_one_of_an_imported_module() {
    // It does not compile; what is not understood proves nothing.
    let artifact = split(vec![source("n", "rule a { condition: elf.type == 2 }\nimport \"elf\"")]);
    assert_eq!(gate_in(&artifact, "a"), Gate::Any);
    let loops = format!("{IMPORTS}rule a {{ condition: for any elf in pe.sections : (elf.type == 2) }}");
    assert_eq!(gate_in(&split(vec![source("n", &loops)]), "a"), Gate::Pe);
}

#[test]
fn a_global_rule_gates_all_rules_of_its_source_and_no_other() {
    let text = "rule before { condition: true } global private rule g { condition: uint32be(0) == 0x7f454c46 } rule pe_only { condition: uint16(0) == 0x5a4d } rule not_g { condition: not g }";
    let artifact = split(vec![source("n", text), source("o", "rule outside { condition: true }")]);
    let gates = ["before", "g", "not_g", "outside"].map(|rule| gate_in(&artifact, rule));
    assert_eq!(gates, [Gate::Elf, Gate::Elf, Gate::Elf, Gate::Any]);
    assert_ne!(gate_in(&artifact, "pe_only"), Gate::Any, "it can never match");
}

#[test]
fn a_source_that_is_not_split_is_not_gated() {
    let artifact = split(vec![source("n", "global global rule a { condition: uint32be(0) == 0x7f454c46 }")]);
    assert_eq!(gate_in(&artifact, "a"), Gate::Any);
}

#[test]
fn a_gate_is_written_down_and_may_be_missing() {
    let artifact =
        split(vec![source("n", "rule a { condition: uint32be(0) == 0x7f454c46 } rule b { condition: true }")]);
    assert_eq!([gate_in(&artifact, "a"), gate_in(&artifact, "b")], [Gate::Elf, Gate::Any]);
    for kind in types::FileKind::ALL {
        assert_eq!(Gate::Elf.admits(kind), kind == types::FileKind::Elf);
        assert!(Gate::Any.admits(kind));
        for (one, other) in pairs() {
            assert_eq!(one.or(other).admits(kind), one.admits(kind) || other.admits(kind), "{one:?} or {other:?}");
            let never = types::FileKind::ALL.iter().all(|kind| !(one.admits(*kind) && other.admits(*kind)));
            assert!(never || one.and(other).admits(kind) == (one.admits(kind) && other.admits(kind)));
        }
    }
}

fn pairs() -> impl Iterator<Item = (Gate, Gate)> {
    let gates = [Gate::Any, Gate::Elf, Gate::Pe, Gate::ElfOrPe];
    gates.into_iter().flat_map(move |one| gates.map(|other| (one, other)))
}
