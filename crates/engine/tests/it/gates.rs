//! What is found with one program per kind of file is what one program with all rules finds.

use std::{fmt::Write as _, path::Path};

use engine::{FileFacts, KindPart, Part, compile, compile_kinds};
use rules::{program, split};
use types::{Gate, RulesetSource};

use crate::{TIMEOUT, compiled_kinds, hits, kind_hits, random::Random, source};

/// Programs of this machine, in parts and mangled too, and what only looks like one.
fn samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = [
        &b""[..],
        b"M",
        b"MZ",
        b"\x7f",
        b"\x7fE",
        b"\x7fEL",
        b"\x7fELF",
        b"\x7fELG",
        b"ELF\x7f",
        b"ZM",
        b"mz",
        b"alpha beta",
        b"MZ alpha and what is not a program",
        b"\x7fELF alpha and what is not a program",
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .collect();
    samples.push([b"MZ".as_slice(), &[0; 4000]].concat());
    samples.push([b"\x7fELF\x02\x01\x01".as_slice(), &[0; 4000], b"alpha"].concat());
    samples.push([b"\x7fELF\x01\x02\x01".as_slice(), &[0xff; 400]].concat());
    samples.push(small_pe());
    samples.push([b" ".as_slice(), &small_pe()].concat());
    for name in ["true", "ls", "env", "sort"] {
        let Ok(bytes) = std::fs::read(Path::new("/usr/bin").join(name)) else { continue };
        samples.push(bytes[..bytes.len().min(4096)].to_vec());
        samples.push(bytes[1..].to_vec());
        samples.push([b"MZ", &bytes[2..]].concat());
        samples.push(bytes);
    }
    samples
}

/// A program with one section and nothing in it.
fn small_pe() -> Vec<u8> {
    let mut bytes = vec![0; 1024];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(0, b"MZ");
    put(0x3c, &0x80_u32.to_le_bytes());
    put(0x80, b"PE\0\0");
    put(0x84, &0x14c_u16.to_le_bytes());
    put(0x86, &1_u16.to_le_bytes());
    put(0x94, &0xe0_u16.to_le_bytes());
    put(0x96, &0x102_u16.to_le_bytes());
    put(0x98, &0x10b_u16.to_le_bytes());
    put(0xf4, &16_u32.to_le_bytes());
    put(0x178, b"alpha");
    put(0x180, &512_u32.to_le_bytes());
    put(0x188, &512_u32.to_le_bytes());
    put(0x18c, &512_u32.to_le_bytes());
    bytes
}

/// Asserts that gates change nothing, and returns how many units are gated and how many hits there are.
fn assert_same(sources: Vec<RulesetSource>, samples: &[Vec<u8>]) -> (usize, usize) {
    let artifact = split(sources);
    let mut ungated = artifact.clone();
    for unit in &mut ungated.units {
        unit.gate = Gate::Any;
    }
    let (all, gated) = (program(&ungated, None), program(&artifact, None));
    assert_eq!(all.owners, gated.owners);
    let (all, kinds) = (compiled_kinds(&all.sources), compiled_kinds(&gated.sources));
    assert_eq!(all.programs(), 1);
    let mut found = 0;
    for bytes in samples {
        // What rules of others were compiled as well differs, and is dropped by their owners.
        let counts = |hit: &engine::Hit| gated.owners.get(&hit.namespace, &hit.rule).is_some();
        let (mut expected, mut with_gates) = (kind_hits(&all, bytes), kind_hits(&kinds, bytes));
        expected.retain(counts);
        with_gates.retain(counts);
        found += expected.len();
        assert_eq!(with_gates, expected, "begins {:?}\n{:#?}", &bytes[..bytes.len().min(8)], artifact.sources);
    }
    (artifact.units.iter().filter(|unit| unit.gate != Gate::Any).count(), found)
}

#[test]
fn the_examples_find_the_same_with_gates() {
    let folder = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../examples/rules");
    let loaded = rules::load(&folder).unwrap();
    let sources: Vec<_> =
        loaded.into_iter().map(|source| RulesetSource { namespace: source.namespace, text: source.text }).collect();
    let kinds = program(&split(sources.clone()), None).sources;
    for other in kinds.get(types::FileKind::Other) {
        assert!(!other.text.contains("import \"elf\"") && !other.text.contains("import \"pe\""), "{}", other.namespace);
    }
    let mut samples = samples();
    let read = |folder: &Path| {
        let paths = std::fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        paths.filter_map(|path| std::fs::read(path).ok()).filter(|bytes| bytes.len() < 1 << 20)
    };
    samples.extend(read(&folder.join("../samples")).chain(read(Path::new("/usr/bin")).take(150)));
    let (gated, found) = assert_same(sources, &samples);
    assert!(gated > 50 && found > 10, "{gated} gated, {found} hits");
}

const ATOMS: [&str; 62] = [
    "elf.type == 3",
    "elf.type != 3",
    "elf.type > elf.ET_REL",
    "elf.machine",
    "elf.number_of_sections > 3",
    "elf.ET_EXEC == 2",
    "elf.sections[0].type == 0",
    "elf.sections[1].name == \".interp\"",
    "elf.telfhash() != \"x\"",
    "elf.entry_point < filesize",
    "elf.sh_offset + 64 > filesize",
    "3 - elf.number_of_segments < 3",
    "elf.dynsym_entries == 0",
    "elf.symtab_entries >= 0",
    "for any s in elf.sections : (s.type == 1)",
    "for all s in elf.sections : (s.type >= 0)",
    "for none s in elf.sections : (s.type == 77)",
    "for 1 s in elf.segments : (s.type == 1)",
    "for 0 s in elf.segments : (s.type == 77)",
    "for all d in elf.dynamic : (d.type != 77)",
    "for any s in elf.dynsym : (s.name contains \"a\")",
    "for all i in (0..elf.number_of_sections) : (i >= 0)",
    "for any i in (0..elf.number_of_sections) : (i >= 0)",
    "defined elf.type",
    "elf.import_md5() != \"\"",
    "(elf.type & 1) == 1",
    "pe.is_pe",
    "pe.is_pe == 0",
    "pe.is_pe == 1",
    "pe.is_pe != 1",
    "pe.number_of_sections == 1",
    "pe.number_of_sections != 1",
    "pe.machine == pe.MACHINE_I386",
    "pe.MACHINE_I386 == 0x14c",
    "pe.sections[0].name == \"alpha\"",
    "pe.imports(\"a.dll\", \"b\") == 0",
    "not pe.imports(\"a.dll\")",
    "pe.is_dll() == 0",
    "pe.is_32bit()",
    "pe.is_64bit() == 0",
    "pe.exports(\"x\") == 0",
    "pe.timestamp == 0",
    "pe.characteristics & 2 == 2",
    "pe.linker_version.major == 0",
    "pe.entry_point >= 0",
    "for any s in pe.sections : (s.raw_data_size == 512)",
    "for all s in pe.sections : (s.name == \"alpha\")",
    "for none s in pe.sections : (s.name == \"x\")",
    "pe.section_index(\"alpha\") == 0",
    "pe.rva_to_offset(512) > 0",
    "pe.calculate_checksum() != 3",
    "pe.overlay.size >= 0",
    "pe.locale(3) == 0",
    "pe.number_of_imports == 0",
    "uint32be(0) == 0x7f454c46",
    "uint32(0) == 0x464c457f",
    "uint32be(0) != 0x7f454c46",
    "uint16(0) == 0x5a4d",
    "uint16be(0) == 0x4d5a",
    "0x5a4d == uint16(0)",
    "uint32be(0) > 3",
    "uint8(elf.entry_point) >= 0",
];

fn condition(random: &mut Random, earlier: usize, depth: usize) -> String {
    let mut condition = String::new();
    for place in 0..=random.below(3) {
        if place > 0 {
            condition += random.pick(&[" and ", " and ", " and ", " or "]);
        }
        condition += random.pick(&["", "", "", "", "not ", "defined ", "not defined "]);
        match random.below(10) {
            0 | 1 if depth < 3 => write!(condition, "({})", self::condition(random, earlier, depth + 1)).unwrap(),
            2 if earlier > 0 => write!(condition, "r{}", random.below(earlier)).unwrap(),
            3 if earlier > 0 => {
                let quantifier = random.pick(&["any", "all", "none", "1"]);
                write!(condition, "{quantifier} of (r{}, r{})", random.below(earlier), random.below(earlier)).unwrap();
            }
            4 => condition += random.pick(&["filesize > 100", "$s", "#s > 1", "$s at 0", "true", "filesize >= 0"]),
            _ => condition += random.pick(&ATOMS),
        }
    }
    condition
}

#[test]
fn random_conditions_find_the_same_with_gates() {
    let samples = samples();
    let (mut gated, mut found, mut rules, mut refused) = (0, 0, 0, 0);
    for seed in 0..150 {
        let mut random = Random(seed);
        let mut text = "import \"pe\"\nimport \"elf\"\n".to_owned();
        let mut count = 0;
        while count < 12 {
            let modifiers = if random.below(60) == 0 { "global " } else { random.pick(&["", "", "", "", "private "]) };
            let rule = format!(
                "{modifiers}rule r{count} {{ strings: $s = \"alpha\" condition: ($s or true) and ({}) }}\n",
                condition(&mut random, count, 0)
            );
            let extended = format!("{text}{rule}");
            // What libyara takes for a wrong type is left out.
            if compile(&[Part { name: "", sources: &[source("n", &extended)] }]).is_ok() {
                text = extended;
                count += 1;
            } else {
                refused += 1;
            }
        }
        let (more_gated, more_found) = assert_same(vec![source("n", &text)], &samples);
        (gated, found, rules) = (gated + more_gated, found + more_found, rules + count);
    }
    assert!(gated * 5 > rules && gated * 10 < rules * 9, "{gated} of {rules} gated");
    assert!(found > rules && refused < rules * 2, "{found} hits of {rules} rules, {refused} refused");
}

#[test]
fn each_atom_alone_finds_the_same_with_gates() {
    let samples = samples();
    for atom in ATOMS {
        let text = format!(
            "import \"pe\"\nimport \"elf\"\nrule a {{ condition: {atom} }}\nrule b {{ condition: filesize >= 0 and ({atom}) }}\nrule c {{ condition: not ({atom}) }}\nrule d {{ condition: a and b }}"
        );
        assert_same(vec![source("n", &text)], &samples);
    }
}

#[test]
fn an_open_file_is_scanned_with_the_program_of_its_kind() {
    let text = "rule e { condition: uint32be(0) == 0x7f454c46 } rule p { condition: uint16(0) == 0x5a4d } rule o { condition: true }";
    let compiled = compiled_kinds(&program(&split(vec![source("n", text)]), None).sources);
    assert_eq!(compiled.programs(), 3);
    let mut scanner = compiled.scanner().unwrap();
    for bytes in samples() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let facts = FileFacts::new(b"dir/sample.bin", bytes.len() as u64);
        let on_disk = scanner.scan_fd(&file, &facts, TIMEOUT).unwrap();
        assert_eq!(on_disk, scanner.scan_mem(&bytes, &facts, TIMEOUT).unwrap());
        assert_eq!(on_disk, hits(&crate::compiled(&[source("n", text)]), &bytes));
    }
    let folder = std::fs::File::open("/").unwrap();
    assert!(scanner.scan_fd(&folder, &FileFacts::new(b"f", 0), TIMEOUT).is_err());
}

#[test]
fn a_part_that_compiles_for_no_kind_is_named_once_and_one_that_fails_for_one_kind_too() {
    let sources = |text: &str| program(&split(vec![source("n", text)]), None).sources;
    let good = sources("rule r { condition: true }");
    let bad = sources("rule r { condition: nope }");
    let bad_for_elf = sources("rule r { condition: true } rule e { condition: uint32be(0) == 0x7f454c46 and nope }");
    let part = |name, sources| KindPart { name, sources };
    let parts = [part("good", &good), part("bad", &bad), part("bad for elf", &bad_for_elf)];
    let failure = compile_kinds(&parts).unwrap_err();
    assert_eq!(failure.parts.iter().map(|part| &part.name[..]).collect::<Vec<_>>(), ["bad", "bad for elf"]);
    assert!(compile_kinds(&parts[..1]).is_ok());
}

#[test]
fn a_kind_that_no_rule_can_match_is_answered_without_a_program() {
    let text = "rule e { condition: uint32be(0) == 0x7f454c46 }";
    let compiled = compiled_kinds(&program(&split(vec![source("n", text)]), None).sources);
    let mut scanner = compiled.scanner().unwrap();
    let mut found = 0;
    for bytes in samples() {
        let facts = FileFacts::new(b"dir/sample.bin", bytes.len() as u64);
        let gated = scanner.scan_mem(&bytes, &facts, TIMEOUT).unwrap();
        found += gated.len();
        assert_eq!(gated, hits(&crate::compiled(&[source("n", text)]), &bytes));
    }
    assert!(found > 0);
}
