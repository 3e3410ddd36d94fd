//! Reads GBNF (llama.cpp's grammars/README.md): rules of literals, character classes, groups, repetitions, tokens.

use std::collections::HashMap;

use crate::gbnf::{Grammar, Node, NodeId, RuleId};
use crate::gbnf_chars::CharSet;

const MAX_DEPTH: usize = 100;
const MAX_NODES: usize = 20_000;
const MAX_REPEAT: u32 = 2000; // llama.cpp's bound

pub fn read(source: &str) -> Result<Grammar, String> {
    let mut reader = Reader { rest: source, line: 1, nodes: Vec::new(), rules: HashMap::new(), bodies: Vec::new() };
    reader.read_rules().map_err(|e| format!("line {}: {e}", reader.line))?;
    let root = *reader.rules.get("root").ok_or("there is no rule named \"root\"")?;
    let mut bodies = Vec::with_capacity(reader.bodies.len());
    for (rule, body) in reader.bodies.iter().enumerate() {
        let name = || reader.rules.iter().find(|(_, &id)| id == rule).map_or("", |(name, _)| name.as_str());
        bodies.push(body.ok_or_else(|| format!("the rule \"{}\" is used but not defined", name()))?);
    }
    Ok(Grammar { nodes: reader.nodes, bodies, root })
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    nodes: Vec<Node>,
    rules: HashMap<String, RuleId>,
    bodies: Vec<Option<NodeId>>,
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}

impl<'a> Reader<'a> {
    fn read_rules(&mut self) -> Result<(), String> {
        self.skip_space(true);
        while !self.rest.is_empty() {
            let name = self.take_name().ok_or("expected a rule: name ::= ...")?.to_string();
            self.skip_space(false);
            self.expect("::=")?;
            let body = self.read_choice(0)?;
            let rule = self.rule(&name);
            if self.bodies[rule].replace(body).is_some() {
                return Err(format!("the rule \"{name}\" is defined twice"));
            }
            if !self.rest.is_empty() && !self.is_at_rule() {
                return Err(format!("unexpected {:?}", self.rest.chars().next().unwrap_or(' ')));
            }
        }
        Ok(())
    }

    fn rule(&mut self, name: &str) -> RuleId {
        if let Some(&rule) = self.rules.get(name) {
            return rule;
        }
        self.bodies.push(None);
        self.rules.insert(name.to_string(), self.bodies.len() - 1);
        self.bodies.len() - 1
    }

    fn add(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take_if(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, text: &str) -> Result<(), String> {
        if self.take_if(text) {
            Ok(())
        } else {
            Err(format!("expected {text:?}"))
        }
    }

    fn take_name(&mut self) -> Option<&'a str> {
        let end = self.rest.find(|c| !is_name(c)).unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!name.is_empty()).then_some(name)
    }

    fn skip_space(&mut self, with_lines: bool) {
        while let Some(c) = self.peek() {
            match c {
                '#' => {
                    let end = self.rest.find(['\n', '\r']).unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                ' ' | '\t' => {
                    self.take();
                }
                '\n' | '\r' if with_lines => {
                    self.take();
                }
                _ => return,
            }
        }
    }

    /// Is what follows "name ::="?
    fn is_at_rule(&self) -> bool {
        let after = self.rest.trim_start_matches(is_name);
        after.len() < self.rest.len() && after.trim_start_matches([' ', '\t']).starts_with("::=")
    }

    fn read_choice(&mut self, depth: usize) -> Result<NodeId, String> {
        if depth > MAX_DEPTH {
            return Err("groups are nested too deeply".to_string());
        }
        let mut branches = vec![self.read_sequence(depth)?];
        while self.take_if("|") {
            branches.push(self.read_sequence(depth)?);
        }
        Ok(if branches.len() == 1 { branches[0] } else { self.add(Node::Choice(branches)) })
    }

    fn read_sequence(&mut self, depth: usize) -> Result<NodeId, String> {
        let mut items = Vec::new();
        loop {
            self.skip_space(true);
            let item = match self.peek() {
                None | Some('|' | ')') => break,
                Some(_) if self.is_at_rule() => break,
                Some(_) => self.read_item(depth)?,
            };
            items.push(self.read_repetitions(item)?);
        }
        Ok(if items.len() == 1 { items[0] } else { self.add(Node::Sequence(items)) })
    }

    fn read_item(&mut self, depth: usize) -> Result<NodeId, String> {
        if self.nodes.len() > MAX_NODES {
            return Err("the grammar is too large".to_string());
        }
        match self.peek() {
            Some('"') => self.read_literal(),
            Some('[') => self.read_class(),
            Some('.') => {
                self.take();
                Ok(self.add(Node::Chars(CharSet::any())))
            }
            Some('(') => {
                self.take();
                let inner = self.read_choice(depth + 1)?;
                self.expect(")")?;
                Ok(inner)
            }
            Some('<') => self.read_token(),
            Some('!') => Err("excluded tokens (!<...>) are not supported".to_string()),
            Some(c) if is_name(c) => {
                let name = self.take_name().unwrap_or_default();
                let rule = self.rule(name);
                Ok(self.add(Node::Rule(rule)))
            }
            Some(c) => Err(format!("unexpected {c:?}")),
            None => Err("unexpected end".to_string()),
        }
    }

    fn read_literal(&mut self) -> Result<NodeId, String> {
        self.take();
        let mut chars = Vec::new();
        while !self.take_if("\"") {
            let c = self.take_char()?;
            chars.push(self.add(Node::Chars(CharSet::from_ranges(vec![(c, c)]))));
        }
        Ok(if chars.len() == 1 { chars[0] } else { self.add(Node::Sequence(chars)) })
    }

    fn read_class(&mut self) -> Result<NodeId, String> {
        self.take();
        let is_negated = self.take_if("^");
        let mut ranges = Vec::new();
        while !self.take_if("]") {
            let low = self.take_char()?;
            let is_range = self.rest.starts_with('-') && !self.rest.starts_with("-]");
            let high = if is_range {
                self.take();
                self.take_char()?
            } else {
                low
            };
            if high < low {
                return Err("a character range ends before it begins".to_string());
            }
            ranges.push((low, high));
        }
        let set = CharSet::from_ranges(ranges);
        let set = if is_negated { set.negated() } else { set };
        if set.is_empty() {
            return Err("a character class matches nothing".to_string());
        }
        Ok(self.add(Node::Chars(set)))
    }

    fn take_char(&mut self) -> Result<u32, String> {
        let c = self.take().ok_or("a literal or character class is not closed")?;
        if c != '\\' {
            return Ok(c as u32);
        }
        let c = self.take().ok_or("a literal or character class is not closed")?;
        let digits = match c {
            'n' => return Ok('\n' as u32),
            'r' => return Ok('\r' as u32),
            't' => return Ok('\t' as u32),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            c if c.is_ascii_punctuation() => return Ok(c as u32),
            c => return Err(format!("unknown escape \\{c}")),
        };
        let hex = self.rest.get(..digits).ok_or("an escape is cut short")?;
        let code = u32::from_str_radix(hex, 16).map_err(|_| format!("\\{c}{hex} is no character"))?;
        self.rest = &self.rest[digits..];
        char::from_u32(code).map(|c| c as u32).ok_or_else(|| format!("\\{c}{hex} is no character"))
    }

    fn read_token(&mut self) -> Result<NodeId, String> {
        let end = self.rest.find('>').ok_or("a token is not closed")?;
        let (text, rest) = self.rest.split_at(end + 1);
        if text.contains(|c: char| c.is_whitespace() || c == '^') || text.len() < 3 {
            return Err(format!("{text} is no token"));
        }
        self.rest = rest;
        Ok(self.add(Node::Token(text.to_string())))
    }

    fn read_repetitions(&mut self, mut node: NodeId) -> Result<NodeId, String> {
        loop {
            let (min, max) = match self.peek() {
                Some('*') => (0, None),
                Some('+') => (1, None),
                Some('?') => (0, Some(1)),
                Some('{') => {
                    let counts = self.read_counts()?;
                    node = self.add(Node::Repeat { node, min: counts.0, max: counts.1 });
                    continue;
                }
                _ => return Ok(node),
            };
            self.take();
            node = self.add(Node::Repeat { node, min, max });
        }
    }

    /// "{2}", "{2,}", "{2,5}" or "{,5}"
    fn read_counts(&mut self) -> Result<(u32, Option<u32>), String> {
        let end = self.rest.find('}').ok_or("a repetition is not closed")?;
        let (text, rest) = self.rest[1..].split_at(end - 1);
        self.rest = &rest[1..];
        let count = |digits: &str| match digits.trim().parse::<u32>() {
            Ok(count) if count <= MAX_REPEAT => Ok(count),
            _ => Err(format!("{{{text}}}: expected counts up to {MAX_REPEAT}")),
        };
        let (min, max) = match text.split_once(',') {
            None => (count(text)?, Some(count(text)?)),
            Some((min, max)) => {
                let min = if min.trim().is_empty() { 0 } else { count(min)? };
                (min, if max.trim().is_empty() { None } else { Some(count(max)?) })
            }
        };
        if max.is_some_and(|max| max < min) {
            return Err(format!("{{{text}}}: the upper count is below the lower"));
        }
        Ok((min, max))
    }
}
