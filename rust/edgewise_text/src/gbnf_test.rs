//! What llguidance accepts after the translation is compared with a recognizer that knows nothing of lexers: for
//! each node and position it computes where matches may end, until nothing changes.

use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities};
use llguidance::{Matcher, ParserFactory};

use crate::gbnf::{to_lark, Grammar, Node, NodeId};
use crate::gbnf_reader::read;

/// ends[node][start]: bit i is set when a match from `start` may end at i.
fn accepts(grammar: &Grammar, text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    let mut ends = vec![vec![0u32; chars.len() + 1]; grammar.nodes.len()];
    loop {
        let mut has_changed = false;
        for node in 0..grammar.nodes.len() {
            for start in 0..=chars.len() {
                let now = ends_of(grammar, &ends, node, start, &chars);
                has_changed |= now != ends[node][start];
                ends[node][start] = now;
            }
        }
        if !has_changed {
            return ends[grammar.bodies[grammar.root]][0] >> chars.len() & 1 == 1;
        }
    }
}

fn ends_of(grammar: &Grammar, ends: &[Vec<u32>], node: NodeId, start: usize, chars: &[char]) -> u32 {
    let after = |from: u32, node: NodeId| {
        (0..=chars.len()).filter(|i| from >> i & 1 == 1).fold(0, |all, i| all | ends[node][i])
    };
    match &grammar.nodes[node] {
        Node::Chars(set) => u32::from(start < chars.len() && set.contains(chars[start])) << (start + 1),
        Node::Token(_) => 0,
        Node::Sequence(items) => items.iter().fold(1 << start, |from, &item| after(from, item)),
        Node::Choice(items) => items.iter().fold(0, |all, &item| all | ends[item][start]),
        Node::Rule(rule) => ends[grammar.bodies[*rule]][start],
        Node::Repeat { node, min, max } => {
            let mut from = 1 << start;
            let mut all = if *min == 0 { from } else { 0 };
            for count in 1..=max.unwrap_or(u32::MAX).min(min + chars.len() as u32 + 1) {
                from = after(from, *node);
                all |= if count >= *min { from } else { 0 };
            }
            all
        }
    }
}

struct Compiled(Matcher);

impl Compiled {
    fn new(gbnf: &str) -> Compiled {
        let environment = ApproximateTokEnv::single_byte_env();
        let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &[]).unwrap();
        factory.quiet();
        let lark = to_lark(gbnf).unwrap_or_else(|e| panic!("{gbnf}: {e}"));
        let mut matcher = Matcher::new(Arc::new(factory).create_parser(TopLevelGrammar::from_lark(lark.clone())));
        matcher.consume_tokens(&[]).unwrap_or_else(|e| panic!("{gbnf}\n{lark}\n{e}"));
        Compiled(matcher)
    }

    fn accepts(&self, text: &str) -> bool {
        let mut matcher = self.0.deep_clone();
        for byte in text.bytes() {
            if matcher.is_stopped() || matcher.try_consume_tokens(&[u32::from(byte)]).unwrap_or(0) != 1 {
                return false;
            }
        }
        matcher.is_stopped() || matcher.is_accepting().unwrap()
    }
}

fn texts(alphabet: &[char], longest: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut from = 0;
    for _ in 0..longest {
        let to = all.len();
        for i in from..to {
            for &c in alphabet {
                all.push(format!("{}{c}", all[i]));
            }
        }
        from = to;
    }
    all
}

fn check(gbnf: &str, alphabet: &[char], longest: usize) -> usize {
    let grammar = read(gbnf).unwrap();
    let compiled = Compiled::new(gbnf);
    let mut accepted = 0;
    for text in texts(alphabet, longest) {
        let expected = accepts(&grammar, &text);
        accepted += usize::from(expected);
        assert_eq!(compiled.accepts(&text), expected, "{text:?} in\n{gbnf}\n{}", to_lark(gbnf).unwrap());
    }
    accepted
}

/// splitmix64 (Steele, Lea, Flood 2014)
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    fn expression(&mut self, depth: u64) -> String {
        let leaves = ["\"a\"", "\"b\"", "\"ab\"", "\"ca\"", "[ab]", "[^b]", "root", "x", "y", "z", "\"\"", "[a-c]"];
        if depth == 0 || self.below(4) == 0 {
            return leaves[self.below(leaves.len() as u64) as usize].to_string();
        }
        let a = self.expression(depth - 1);
        let b = self.expression(depth - 1);
        match self.below(8) {
            0 | 1 | 2 => format!("{a} {b}"),
            3 | 4 => format!("({a} | {b})"),
            5 => format!("({a})*"),
            6 => format!("({a})? {b}"),
            _ => format!("({a}){{1,2}}"),
        }
    }
}

#[test]
fn random_grammars_keep_their_language() {
    let mut accepted = 0;
    for seed in 0..300 {
        let mut random = Random(seed);
        let rules: Vec<String> =
            ["root", "x", "y", "z"].iter().map(|name| format!("{name} ::= {}\n", random.expression(3))).collect();
        let gbnf = rules.concat();
        // A language without any text is an error of its own.
        let grammar = read(&gbnf).unwrap();
        if texts(&['a', 'b', 'c'], 4).iter().any(|text| accepts(&grammar, text)) {
            accepted += check(&gbnf, &['a', 'b', 'c'], 4);
        }
    }
    assert!(accepted > 3_000, "{accepted}");
}

#[test]
fn recursion_and_ambiguity() {
    assert_eq!(check("root ::= \"(\" root \")\" root | \"\"", &['(', ')'], 8), 1 + 1 + 2 + 5 + 14);
    check("root ::= e\ne ::= e \"+\" e | [a-b]+ | \"(\" e \")\"", &['a', '+', '('], 6);
    check("root ::= word \"a\" root | word\nword ::= [ab]+", &['a', 'b'], 7);
    check("root ::= \"if\" root | id root | \"x\"\nid ::= [fix]+", &['i', 'f', 'x'], 6);
    check("root ::= \"a\" root \"a\" | \"b\" root \"b\" | \"\"", &['a', 'b'], 8);
    check("root ::= ws (root ws)? \"a\" ws\nws ::= | \" \" | \"b\" [ b]{0,2}", &['a', 'b', ' '], 6);
}

#[test]
fn unicode_and_escapes() {
    check(r#"root ::= ("é" | [\u4e00-\u9fff] | "\x61\n\"\\" | [^é])* "." "#, &['é', '東', 'a', '.', '\n'], 4);
    check("root ::= .{2} [\\]\\-x]", &['a', ']', '-', 'é'], 3);
}

#[test]
fn rules_over_several_lines_and_comments() {
    let gbnf = "# a comment\nroot ::= a # more\n  | b\n\na ::=\n  \"a\" (\n  \"b\" |\n \"c\"\n )\r\nb-2 ::= \"x\"\nb ::= b-2{2}\n";
    assert_eq!(check(gbnf, &['a', 'b', 'c', 'x'], 3), 3);
}

#[test]
fn mistakes_are_named() {
    for (gbnf, words) in [
        ("", "no rule named"),
        ("a ::= \"x\"", "no rule named"),
        ("root ::= missing", "\"missing\" is used but not defined"),
        ("root ::= \"x\"\nroot ::= \"y\"", "line 2: the rule \"root\" is defined twice"),
        ("root ::= \"x", "not closed"),
        ("root ::= [a", "not closed"),
        ("root ::= [z-a]", "ends before it begins"),
        ("root ::= (\"a\"", "expected \")\""),
        ("root ::= \"a\"{5,2}", "upper count"),
        ("root ::= \"a\"{99999}", "expected counts"),
        ("root ::= \"\\q\"", "unknown escape"),
        ("root ::= \"\\ud800\"", "no character"),
        ("root := x", "expected \"::=\""),
        ("root ::= )", "unexpected ')'"),
        ("root ::= !<a>", "not supported"),
    ] {
        let error = to_lark(gbnf).expect_err(gbnf);
        assert!(error.contains(words), "{gbnf:?}: {error}");
    }
    assert!(to_lark(&format!("root ::= {}", "(".repeat(200_000))).is_err());
}

#[test]
fn json_is_mostly_lexemes() {
    let json = r#"
        root ::= object
        value ::= object | array | string | number | ("true" | "false" | "null") ws
        object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
        array ::= "[" ws ( value ("," ws value)* )? "]" ws
        string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
        number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
        ws ::= | " " | "\n" [ \t]{0,20}
    "#;
    let compiled = Compiled::new(json);
    for text in [r#"{"a": [1, -2.5e+3, "x\n\u00e9", {}, [], null]}"#, "{}", "{ }", "{\"a\":true\n}"] {
        assert!(compiled.accepts(text), "{text}");
    }
    for text in ["{", "[]", r#"{"a":}"#, r#"{"a":1,}"#, r#"{"a":01}"#, "{\"a\":\"\n\"}"] {
        assert!(!compiled.accepts(text), "{text}");
    }
    let lark = to_lark(json).unwrap();
    let rules = lark.lines().filter(|line| line.starts_with('r')).count();
    assert_eq!(rules, 4, "root, value, object and array are recursive, the rest are lexemes:\n{lark}");
}
