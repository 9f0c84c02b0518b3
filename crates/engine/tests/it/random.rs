//! The delta's equality over generated rulesets and chains of random edits, from fixed seeds.
//! 60 seeds with 60 edits each, 3 minutes, were run when this was written.

use std::fmt::Write as _;

use engine::{Part, compile};
use rules::split;
use types::RulesetSource;

use crate::delta::{assert_delta, samples};

/// SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).unwrap()
    }

    pub(crate) fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

#[derive(Clone)]
struct Rule {
    name: String,
    modifiers: &'static str,
    pattern: &'static str,
    condition: String,
    comment: usize,
}

type Source = (String, Vec<Rule>);

fn name(random: &mut Random) -> String {
    format!("{}{}", random.pick(&["a_", "b_", "c_", "ab_"]), random.below(12))
}

fn condition(random: &mut Random, earlier: &[Rule]) -> String {
    let mut condition = "$s".to_owned();
    for _ in 0..random.below(3) {
        let joined = random.pick(&[" and ", " or ", " and not "]);
        let atom = match random.below(7) {
            0 | 1 if !earlier.is_empty() => earlier[random.below(earlier.len())].name.clone(),
            2 | 3 if !earlier.is_empty() => {
                let prefix = earlier[random.below(earlier.len())].name.split('_').next().unwrap().to_owned();
                format!("{} of ({prefix}_*)", random.pick(&["any", "all", "2", "none"]))
            }
            4 => format!("filesize > {}", random.below(20)),
            5 => "math.entropy(0, filesize) > 2".to_owned(),
            _ => {
                random.pick(&["#s > 1", "filename == \"sample.bin\"", "for any i in (1..#s) : (@s[i] > 3)"]).to_owned()
            }
        };
        write!(condition, "{joined}{atom}").unwrap();
    }
    condition
}

fn rule(random: &mut Random, earlier: &[Rule]) -> Rule {
    Rule {
        name: name(random),
        modifiers: match random.below(12) {
            0 => "global ",
            1 => "private ",
            2 => "global private ",
            _ => "",
        },
        pattern: ["\"alpha\"", "\"beta\"", "\"gamma\"", "/al?pha/", "{ 61 6c ?? 68 }", "\"a\""][random.below(6)],
        condition: condition(random, earlier),
        comment: 0,
    }
}

fn render(sources: &[Source]) -> Vec<RulesetSource> {
    let text = |rules: &[Rule]| {
        let mut text = "import \"math\"\n".to_owned();
        for Rule { name, modifiers, pattern, condition, comment } in rules {
            let blanks = " ".repeat(*comment);
            writeln!(
                text,
                "{modifiers}rule {name} {{ //{comment}\n{blanks}strings: $s = {pattern} condition: {condition} }}"
            )
            .unwrap();
        }
        text
    };
    let shown = sources.iter().filter(|(_, rules)| !rules.is_empty());
    shown.map(|(name, rules)| RulesetSource { namespace: name.clone(), text: text(rules) }).collect()
}

fn edit(random: &mut Random, sources: &mut [Source]) {
    let at = random.below(sources.len());
    let rules = &mut sources[at].1;
    let position = random.below(rules.len().max(1));
    match random.below(9) {
        _ if rules.is_empty() => rules.push(rule(random, &[])),
        0 => {
            let added = rule(random, &rules[..position]);
            rules.insert(position, added);
        }
        1 => rules[position] = rule(random, &rules[..position]),
        2 => {
            rules.remove(position);
        }
        3 => rules[position].name = name(random),
        4 => rules[position].comment += 1,
        5 => rules[position].condition = condition(random, &rules[..position]),
        6 => {
            let other = random.below(rules.len());
            rules.swap(position, other);
        }
        7 => rules[position].modifiers = ["", "global ", "private "][random.below(3)],
        _ => sources[at].0 = format!("file{}", random.below(20)),
    }
}

fn is_valid(sources: &[RulesetSource]) -> bool {
    let mut names: Vec<_> = sources.iter().map(|source| &source.namespace).collect();
    names.sort();
    names.dedup();
    // Each source alone, as `check` does it: together, libyara would count members of sets twice.
    let compiles =
        |source: &RulesetSource| compile(&[Part { name: "", sources: std::slice::from_ref(source) }]).is_ok();
    names.len() == sources.len() && !sources.is_empty() && sources.iter().all(compiles)
}

#[test]
fn chains_of_random_edits_find_what_full_scans_find() {
    let (mut steps, mut new, mut all) = (0, 0, 0);
    for seed in 0..10 {
        let mut random = Random(seed);
        let mut sources: Vec<Source> = (0..3).map(|index| (format!("file{index}"), Vec::new())).collect();
        let mut current = split(vec![RulesetSource {
            namespace: "file0".to_owned(),
            text: "rule a_0 { condition: true }".to_owned(),
        }]);
        for _ in 0..40 {
            let mut edited = sources.clone();
            for _ in 0..=random.below(3) {
                edit(&mut random, &mut edited);
            }
            if !is_valid(&render(&edited)) {
                continue;
            }
            let next = split(render(&edited));
            assert!(next.units.iter().all(|unit| !unit.ranges.is_empty()), "all can be split: {:#?}", next.sources);
            steps += 1;
            new += assert_delta(&current, &next, &samples());
            all += next.units.len();
            (sources, current) = (edited, next);
        }
    }
    assert!(steps > 60 && all > 300, "the generator makes rulesets that compile: {steps} steps, {all} units");
    assert!(new * 2 < all, "edits leave most units alone: {new} of {all}");
}

#[test]
fn mangled_rules_are_refused_or_accepted_but_never_stop_the_process() {
    let seed_text = "import \"pe\"\ninclude \"x\"\nglobal rule a_1 : t { meta: m = \"é\\xc3\\xa9\" n = -1 strings: $a = \"x\\xff\" wide $b = /r[^x]+(a|b){2}/i $c = { 41 [2-4] ( 42 | 4? ) } condition: any of them or any of (a_*) and #a > 1 and pe.is_pe or for any i in (1..2) : (@a[i] > 1) }\n// é\nrule b { condition: a_1 }\n";
    let pieces = [
        "\"",
        "\\xff",
        "é",
        "import \"\u{1F600}",
        "{",
        "}",
        "(",
        "*)",
        "/",
        "*/",
        "/*",
        "\\",
        "\n",
        "meta:",
        "rule ",
        "$",
        "\u{feff}",
        "\0",
        "import \"\\xe9\"",
    ];
    let mut random = Random(7);
    let mut accepted = 0;
    for _ in 0..3000 {
        let mut letters: Vec<char> =
            seed_text.replace("include \"x\"\n", ["", "include \"x\"\n"][random.below(2)]).chars().collect();
        for _ in 0..random.below(4) {
            let at = random.below(letters.len());
            match random.below(3) {
                0 => {
                    letters.remove(at);
                }
                1 => letters.swap(at, at / 2),
                _ => {
                    let piece = random.pick(&pieces);
                    letters.splice(at..at, piece.chars());
                }
            }
        }
        let source = RulesetSource { namespace: "n".to_owned(), text: letters.iter().collect() };
        let artifact = split(vec![source.clone()]);
        artifact.validate().unwrap();
        let problems = engine::check(&[rules::LoadedSource::plain(&source)]);
        accepted += usize::from(problems.is_ok());
        if let Err(problems) = problems {
            assert!(rules::render(&problems, false).contains("error"));
        } else {
            let program = rules::program(&artifact, None);
            crate::kind_hits(&crate::compiled_kinds(&program.sources), b"alpha x");
        }
    }
    assert!((100..2900).contains(&accepted), "{accepted} accepted: some of both");
}
