//! GBNF, llama.cpp's grammar notation, read into a graph and written as a Lark grammar for llguidance.
//!
//! GBNF has no lexer: every character is matched by the grammar itself. llguidance has one, with longest match, and
//! is fast because of it. Where the two provably agree, parts of the grammar become lexemes (`gbnf_lexemes`); the
//! rest is matched character by character, which is slower and always right.

use crate::gbnf_chars::CharSet;
use crate::gbnf_lexemes::choose_lexemes;
use crate::gbnf_reader::read;

pub type NodeId = usize;
pub type RuleId = usize;

#[derive(Clone, Debug)]
pub enum Node {
    Chars(CharSet),
    Token(String), // a token of the vocabulary, as Lark spells it
    Sequence(Vec<NodeId>),
    Choice(Vec<NodeId>),
    Repeat { node: NodeId, min: u32, max: Option<u32> },
    Rule(RuleId),
}

#[derive(Debug)]
pub struct Grammar {
    pub nodes: Vec<Node>,
    pub bodies: Vec<NodeId>, // by rule
    pub root: RuleId,
}

impl Grammar {
    pub fn children(&self, node: NodeId) -> &[NodeId] {
        match &self.nodes[node] {
            Node::Sequence(nodes) | Node::Choice(nodes) => nodes,
            Node::Repeat { node, .. } => std::slice::from_ref(node),
            Node::Chars(_) | Node::Token(_) | Node::Rule(_) => &[],
        }
    }

    /// `node` and all below it, references to rules followed, each once.
    pub fn reachable(&self, node: NodeId) -> Vec<NodeId> {
        let mut is_seen = vec![false; self.nodes.len()];
        let mut order = vec![node];
        is_seen[node] = true;
        let mut next = 0;
        while next < order.len() {
            let body = match self.nodes[order[next]] {
                Node::Rule(rule) => Some(self.bodies[rule]),
                _ => None,
            };
            for &below in self.children(order[next]).iter().chain(&body) {
                if !is_seen[below] {
                    is_seen[below] = true;
                    order.push(below);
                }
            }
            next += 1;
        }
        order
    }
}

pub fn to_lark(source: &str) -> Result<String, String> {
    let mut grammar = read(source)?;
    let lexemes = choose_lexemes(&mut grammar);
    Ok(Writer { grammar: &grammar, is_lexeme: &lexemes.is_lexeme, is_nullable: &lexemes.is_nullable }.write())
}

struct Writer<'a> {
    grammar: &'a Grammar,
    is_lexeme: &'a [bool],
    is_nullable: &'a [bool],
}

impl Writer<'_> {
    fn write(&self) -> String {
        let mut out = format!("start: {}\n", self.rule_name(self.grammar.root));
        let mut is_rule_written = vec![false; self.grammar.bodies.len()];
        let mut pending = vec![self.grammar.root];
        is_rule_written[self.grammar.root] = true;
        let mut lexemes = Vec::new();
        while let Some(rule) = pending.pop() {
            out += &format!("{}: {}\n", self.rule_name(rule), self.syntax(self.grammar.bodies[rule]));
            self.visit_syntax(self.grammar.bodies[rule], &mut |node| match self.grammar.nodes[node] {
                _ if self.is_lexeme[node] => lexemes.push(node),
                Node::Rule(next) if !is_rule_written[next] => {
                    is_rule_written[next] = true;
                    pending.push(next);
                }
                _ => {}
            });
        }
        self.write_lexemes(&lexemes, &mut out);
        out
    }

    fn write_lexemes(&self, lexemes: &[NodeId], out: &mut String) {
        let mut is_written = vec![false; self.grammar.bodies.len()];
        let mut pending = Vec::new();
        for &node in lexemes {
            let text = self.pattern(node);
            // A lexeme is never empty; where it may be left out, the rule says so.
            let text = if self.is_nullable[node] { format!("({text}) & /(?s:.+)/") } else { text };
            *out += &format!("L{node}: {text}\n");
            pending.push(node);
        }
        while let Some(node) = pending.pop() {
            for below in self.grammar.reachable(node) {
                let Node::Rule(rule) = self.grammar.nodes[below] else { continue };
                if !is_written[rule] {
                    is_written[rule] = true;
                    *out += &format!("G{rule}: {}\n", self.pattern(self.grammar.bodies[rule]));
                }
            }
        }
    }

    fn rule_name(&self, rule: RuleId) -> String {
        format!("r{rule}")
    }

    fn visit_syntax(&self, node: NodeId, visit: &mut impl FnMut(NodeId)) {
        visit(node);
        if !self.is_lexeme[node] {
            for &below in self.grammar.children(node) {
                self.visit_syntax(below, visit);
            }
        }
    }

    /// A node as part of a rule.
    fn syntax(&self, node: NodeId) -> String {
        if self.is_lexeme[node] {
            return format!("L{node}{}", if self.is_nullable[node] { "?" } else { "" });
        }
        match &self.grammar.nodes[node] {
            Node::Rule(rule) => self.rule_name(*rule),
            _ => self.expression(node, &|below| self.syntax(below)),
        }
    }

    /// A node as part of a terminal.
    fn pattern(&self, node: NodeId) -> String {
        match &self.grammar.nodes[node] {
            Node::Rule(rule) => format!("G{rule}"),
            _ => self.expression(node, &|below| self.pattern(below)),
        }
    }

    fn expression(&self, node: NodeId, write: &dyn Fn(NodeId) -> String) -> String {
        let join = |nodes: &[NodeId], between: &str| {
            let parts: Vec<String> = nodes.iter().map(|&below| write(below)).collect();
            format!("({})", parts.join(between))
        };
        match &self.grammar.nodes[node] {
            Node::Chars(set) => format!("/{}/", set.to_regex()),
            Node::Token(text) => text.clone(),
            Node::Sequence(nodes) if nodes.is_empty() => "\"\"".to_string(),
            Node::Sequence(nodes) => join(nodes, " "),
            Node::Choice(nodes) => join(nodes, " | "),
            Node::Repeat { node, min, max } => {
                let inner = write(*node);
                match (min, max) {
                    (0, None) => format!("({inner})*"),
                    (1, None) => format!("({inner})+"),
                    (0, Some(1)) => format!("({inner})?"),
                    (min, None) => format!("({inner}){{{min},}}"),
                    (_, Some(0)) => "\"\"".to_string(),
                    (min, Some(max)) => format!("({inner}){{{min},{max}}}"),
                }
            }
            Node::Rule(_) => unreachable!("rules are written by name"),
        }
    }
}
