//! Proves from a rule's condition that it can only match ELF files, only files that begin with `MZ`, or both.
//!
//! An `and` chain is false when one operand is false or undefined, an `or` chain when all are. So a chain's
//! gate follows from those of its operands, and an operand's from its being false or undefined for all other
//! files. Nothing is looked for below `not` and `defined`, which turn that into true; what is not recognized
//! proves nothing.
//!
//! Source: libyara 4.5.5. `exec.c`: operators and calls over an undefined operand are undefined, a loop over
//! nothing is false whatever its quantifier. `modules/elf/elf.c`, `modules/pe/pe.c`: what they leave undefined,
//! or empty, in a file without their magic number; constants are always defined, and `pe.is_pe` is 0 then.

use types::Gate;
use yara_x_parser::cst::SyntaxKind;

use crate::syntax::Word;

/// What a condition may refer to.
pub(crate) struct Known<'k> {
    /// Modules imported above the rule.
    pub(crate) imported: &'k dyn Fn(&str) -> bool,
    /// The gate of an earlier rule of the source.
    pub(crate) rule: &'k dyn Fn(&str) -> Gate,
    /// The gates of the earlier rules whose names begin so.
    pub(crate) rules: &'k dyn Fn(&str) -> Vec<Gate>,
}

/// The gate that the condition proves, without what governs the rule from outside.
pub(crate) fn of_condition(condition: &[Word<'_>], known: &Known<'_>) -> Gate {
    let of_chain = |chain: &[Word<'_>]| {
        let operands = split_at(chain, SyntaxKind::AND_KW).into_iter();
        operands.map(|operand| of_operand(operand, known)).fold(Gate::Any, Gate::and)
    };
    let chains = split_at(condition, SyntaxKind::OR_KW).into_iter();
    chains.map(of_chain).reduce(Gate::or).unwrap_or_default()
}

/// The operands of an operator, as far as they are outside all brackets.
pub(crate) fn split_at<'o, 'a>(words: &'o [Word<'a>], operator: SyntaxKind) -> Vec<&'o [Word<'a>]> {
    let mut depth = 0_usize;
    let operands = words.split(|word| {
        match word.kind {
            SyntaxKind::L_PAREN | SyntaxKind::L_BRACKET => depth += 1,
            SyntaxKind::R_PAREN | SyntaxKind::R_BRACKET => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && word.kind == operator
    });
    operands.collect()
}

/// What the first parenthesis holds, if the last one closes it.
pub(crate) fn inside_parentheses<'o, 'a>(words: &'o [Word<'a>]) -> Option<&'o [Word<'a>]> {
    let [first, inside @ .., last] = words else { return None };
    if first.kind != SyntaxKind::L_PAREN || last.kind != SyntaxKind::R_PAREN {
        return None;
    }
    let mut depth = 0_usize;
    for word in inside {
        match word.kind {
            SyntaxKind::L_PAREN => depth += 1,
            SyntaxKind::R_PAREN => depth = depth.checked_sub(1)?,
            _ => {}
        }
    }
    Some(inside)
}

fn of_operand(operand: &[Word<'_>], known: &Known<'_>) -> Gate {
    if let Some(inside) = inside_parentheses(operand) {
        return of_condition(inside, known);
    }
    if let [name] = operand
        && name.kind == SyntaxKind::IDENT
    {
        return (known.rule)(name.text);
    }
    of_first_bytes(operand).and(of_rule_set(operand, known)).and(of_modules(operand, known))
}

/// `any of (rule, prefix*)`: one of them must hold.
fn of_rule_set(operand: &[Word<'_>], known: &Known<'_>) -> Gate {
    let [quantifier, of, set @ ..] = operand else { return Gate::Any };
    let needs_one = match quantifier.kind {
        SyntaxKind::ANY_KW | SyntaxKind::ALL_KW => true,
        SyntaxKind::INTEGER_LIT => number(quantifier.text).is_some_and(|count| count > 0),
        _ => false,
    };
    let (true, SyntaxKind::OF_KW, Some(members)) = (needs_one, of.kind, inside_parentheses(set)) else {
        return Gate::Any;
    };
    let mut gates: Vec<Gate> = Vec::new();
    for member in split_at(members, SyntaxKind::COMMA) {
        match member {
            [name] if name.kind == SyntaxKind::IDENT => gates.push((known.rule)(name.text)),
            [prefix, star] if prefix.kind == SyntaxKind::IDENT && star.kind == SyntaxKind::ASTERISK => {
                gates.extend((known.rules)(prefix.text));
            }
            _ => return Gate::Any,
        }
    }
    gates.into_iter().reduce(Gate::or).unwrap_or_default()
}

fn of_modules(operand: &[Word<'_>], known: &Known<'_>) -> Gate {
    [(&ELF, Gate::Elf), (&PE, Gate::Pe)]
        .into_iter()
        .filter(|(module, _)| (known.imported)(module.name))
        .find(|(module, _)| {
            module.is_flag(operand) || module.makes_undefined(operand) || module.makes_loop_empty(operand)
        })
        .map_or(Gate::Any, |(_, gate)| gate)
}

/// `uint32(0) == 0x464c457f` and the like, also the other way round.
fn of_first_bytes(operand: &[Word<'_>]) -> Gate {
    let texts: Vec<_> = operand.iter().map(|word| word.text).collect();
    let (reader, offset, value) = match texts[..] {
        [reader, "(", offset, ")", "==", value] | [value, "==", reader, "(", offset, ")"] => (reader, offset, value),
        _ => return Gate::Any,
    };
    match (reader, number(offset), number(value)) {
        ("uint32" | "int32", Some(0), Some(0x464c_457f)) => Gate::Elf,
        ("uint32be" | "int32be", Some(0), Some(0x7f45_4c46)) => Gate::Elf,
        ("uint16" | "int16", Some(0), Some(0x5a4d)) | ("uint16be" | "int16be", Some(0), Some(0x4d5a)) => Gate::Pe,
        _ => Gate::Any,
    }
}

pub(crate) fn number(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What a module leaves undefined in files that it is not for.
struct Module {
    name: &'static str,
    /// Fields that are always defined, and 0 in other files.
    flags: &'static [&'static str],
    values: &'static [&'static str],
    functions: &'static [&'static str],
    /// Arrays without items, whose items are undefined.
    arrays: &'static [&'static str],
}

const ELF: Module = Module {
    name: "elf",
    flags: &[],
    values: &[
        "type",
        "machine",
        "entry_point",
        "number_of_sections",
        "sh_offset",
        "sh_entry_size",
        "number_of_segments",
        "ph_offset",
        "ph_entry_size",
        "dynamic_section_entries",
        "symtab_entries",
        "dynsym_entries",
    ],
    functions: &["telfhash", "import_md5"],
    arrays: &["sections", "segments", "dynamic", "symtab", "dynsym"],
};

const PE: Module = Module {
    name: "pe",
    flags: &["is_pe"],
    values: &[
        "machine",
        "number_of_sections",
        "timestamp",
        "pointer_to_symbol_table",
        "number_of_symbols",
        "size_of_optional_header",
        "characteristics",
        "entry_point",
        "entry_point_raw",
        "image_base",
        "number_of_rva_and_sizes",
        "number_of_version_infos",
        "opthdr_magic",
        "size_of_code",
        "size_of_initialized_data",
        "size_of_uninitialized_data",
        "base_of_code",
        "base_of_data",
        "section_alignment",
        "file_alignment",
        "linker_version",
        "os_version",
        "image_version",
        "subsystem_version",
        "size_of_image",
        "size_of_headers",
        "checksum",
        "subsystem",
        "dll_characteristics",
        "number_of_imports",
        "number_of_imported_functions",
        "number_of_delayed_imports",
        "number_of_exports",
        "dll_name",
        "export_timestamp",
        "resource_timestamp",
        "number_of_resources",
        "pdb_path",
        "overlay",
    ],
    functions: &[
        "imports",
        "exports",
        "exports_index",
        "import_rva",
        "delayed_import_rva",
        "imphash",
        "section_index",
        "is_dll",
        "is_32bit",
        "is_64bit",
        "locale",
        "language",
        "calculate_checksum",
        "rva_to_offset",
    ],
    arrays: &["sections", "data_directories", "resources", "import_details", "export_details", "version_info_list"],
};

impl Module {
    /// `pe.is_pe`, alone or compared with 1.
    fn is_flag(&self, operand: &[Word<'_>]) -> bool {
        let texts: Vec<_> = operand.iter().map(|word| word.text).collect();
        match texts[..] {
            [name, ".", flag] | [name, ".", flag, "==", "1"] => name == self.name && self.flags.contains(&flag),
            _ => false,
        }
    }

    /// A term of nothing but operators that hand an undefined operand on, over one of ours at least.
    fn makes_undefined(&self, operand: &[Word<'_>]) -> bool {
        operand.iter().all(hands_undefined_on)
            && outside_arguments(operand).into_iter().any(|at| self.is_undefined(&operand[at..]))
    }

    fn is_undefined(&self, words: &[Word<'_>]) -> bool {
        let [name, dot, field, after @ ..] = words else { return false };
        let called_or_indexed = after.first().map(|word| word.kind);
        let listed = match called_or_indexed {
            Some(SyntaxKind::L_PAREN) => self.functions,
            Some(SyntaxKind::L_BRACKET) => self.arrays,
            _ => self.values,
        };
        name.text == self.name && dot.kind == SyntaxKind::DOT && listed.contains(&field.text)
    }

    /// `for any section in elf.sections : ( .. )`, with any quantifier that is no expression.
    fn makes_loop_empty(&self, operand: &[Word<'_>]) -> bool {
        let [first, quantifier, variable, within, name, dot, array, colon, body @ ..] = operand else { return false };
        first.kind == SyntaxKind::FOR_KW
            && matches!(
                quantifier.kind,
                SyntaxKind::ANY_KW | SyntaxKind::ALL_KW | SyntaxKind::NONE_KW | SyntaxKind::INTEGER_LIT
            )
            && variable.kind == SyntaxKind::IDENT
            && within.kind == SyntaxKind::IN_KW
            && name.text == self.name
            && dot.kind == SyntaxKind::DOT
            && self.arrays.contains(&array.text)
            && colon.kind == SyntaxKind::COLON
            && inside_parentheses(body).is_some()
    }
}

pub(crate) fn hands_undefined_on(word: &Word<'_>) -> bool {
    let operand = matches!(
        word.kind,
        SyntaxKind::IDENT
            | SyntaxKind::INTEGER_LIT
            | SyntaxKind::FLOAT_LIT
            | SyntaxKind::STRING_LIT
            | SyntaxKind::FILESIZE_KW
            | SyntaxKind::REGEXP
    );
    operand
        || [
            "(",
            ")",
            "[",
            "]",
            ",",
            ".",
            "==",
            "!=",
            "<",
            ">",
            "<=",
            ">=",
            "+",
            "-",
            "*",
            "\\",
            "%",
            "&",
            "|",
            "^",
            "~",
            "<<",
            ">>",
            "contains",
            "icontains",
            "startswith",
            "istartswith",
            "endswith",
            "iendswith",
            "iequals",
            "matches",
        ]
        .contains(&word.text)
}

/// Places where a name may begin an operand of the term itself, and not of an argument or an index in it.
fn outside_arguments(operand: &[Word<'_>]) -> Vec<usize> {
    let mut places = Vec::new();
    let mut previous = None;
    // Per open bracket, whether it holds arguments or an index.
    let mut open: Vec<bool> = Vec::new();
    for (at, word) in operand.iter().enumerate() {
        match word.kind {
            SyntaxKind::L_PAREN => open.push(previous == Some(SyntaxKind::IDENT)),
            SyntaxKind::L_BRACKET => open.push(true),
            SyntaxKind::R_PAREN | SyntaxKind::R_BRACKET => {
                open.pop();
            }
            SyntaxKind::IDENT if previous != Some(SyntaxKind::DOT) && !open.contains(&true) => places.push(at),
            _ => {}
        }
        previous = Some(word.kind);
    }
    places
}
