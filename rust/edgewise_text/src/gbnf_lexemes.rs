//! Decides which parts of a GBNF grammar may be lexemes of llguidance's lexer without changing the language.
//!
//! The lexer runs all lexemes that the parser expects side by side and takes the longest match. That agrees with
//! matching character by character if, for each lexeme,
//!   1. no character that could continue it after it may end could also begin what may follow it, and
//!   2. whenever it is expected, no other expected lexeme or character can begin with the same character.
//! What is expected together is found as in SLR parsing, without regard to the calling context, which errs on the
//! safe side. The search starts with the largest regular (not recursive) parts; one that breaks a rule is replaced
//! by its own parts, down to single characters, for which nothing has to hold.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::gbnf::{Grammar, Node, NodeId};
use crate::gbnf_chars::CharSet;

/// The search compares pairs of leaves, again after each round of splitting. Beyond these bounds (a second or so)
/// single characters are used throughout.
const MAX_LEAVES: usize = 1000;
const MAX_ROUNDS: usize = 20;
const MAX_PAIRS_VISITED: usize = 3_000_000; // in one search

pub struct Lexemes {
    pub is_lexeme: Vec<bool>,
    pub is_nullable: Vec<bool>,
}

pub fn choose_lexemes(grammar: &mut Grammar) -> Lexemes {
    let is_regular = find_regular(grammar);
    group_regular_runs(grammar, &is_regular);
    let is_regular = find_regular(grammar);
    let root = grammar.bodies[grammar.root];
    let all = grammar.reachable(root);
    let is_single = |node: NodeId| matches!(grammar.nodes[node], Node::Chars(_) | Node::Token(_));
    let chars = Flow::over(grammar, &all, vec![false; grammar.nodes.len()], &is_single);
    let is_small = chars.leaves.len() <= MAX_LEAVES;
    let is_lexeme = vec![false; grammar.nodes.len()];
    let mut choice = Choice { grammar, is_regular, is_lexeme, chars, more: HashMap::new() };
    choice.mark(root);
    // A grammar without recursion is one lexeme, which nothing can follow. One that is too large, or whose search does
    // not end, has none.
    if !choice.is_lexeme[root] && !(is_small && (0..MAX_ROUNDS).any(|_| choice.split_unsafe() == Split::AllSafe)) {
        choice.is_lexeme.fill(false);
    }
    Lexemes { is_lexeme: choice.is_lexeme, is_nullable: choice.chars.is_nullable }
}

/// Nodes below which there is neither recursion nor a token of the vocabulary.
fn find_regular(grammar: &Grammar) -> Vec<bool> {
    // Leaves first: a node is regular when all below it are; those that never become so are recursive.
    let mut is_regular = vec![false; grammar.nodes.len()];
    loop {
        let mut has_changed = false;
        for node in 0..grammar.nodes.len() {
            let is_now = match grammar.nodes[node] {
                Node::Chars(_) => true,
                Node::Token(_) => false,
                Node::Rule(rule) => is_regular[grammar.bodies[rule]],
                _ => grammar.children(node).iter().all(|&below| is_regular[below]),
            };
            has_changed |= is_now && !is_regular[node];
            is_regular[node] |= is_now;
        }
        if !has_changed {
            return is_regular;
        }
    }
}

/// Makes "regular regular recursive" into "(regular regular) recursive", so that runs can be lexemes as a whole.
fn group_regular_runs(grammar: &mut Grammar, is_regular: &[bool]) {
    for node in 0..is_regular.len() {
        let Node::Sequence(items) = grammar.nodes[node].clone() else { continue };
        if is_regular[node] {
            continue;
        }
        let mut grouped: Vec<NodeId> = Vec::new();
        for run in items.chunk_by(|&a, &b| is_regular[a] && is_regular[b]) {
            if run.len() == 1 {
                grouped.push(run[0]);
            } else {
                grammar.nodes.push(Node::Sequence(run.to_vec()));
                grouped.push(grammar.nodes.len() - 1);
            }
        }
        grammar.nodes[node] = Node::Sequence(grouped);
    }
}

/// What can come first and last in each node, in terms of leaves; Glushkov's construction (1961), with rules.
struct Flow {
    is_nullable: Vec<bool>,
    first: Vec<Set>,
    last: Vec<Set>,
    leaves: Vec<NodeId>, // by number
}

/// Numbers of leaves.
#[derive(Clone, Default, PartialEq, Eq)]
struct Set(Vec<u64>);

impl Set {
    fn insert(&mut self, i: usize) -> bool {
        if self.0.len() <= i / 64 {
            self.0.resize(i / 64 + 1, 0);
        }
        let before = self.0[i / 64];
        self.0[i / 64] |= 1 << (i % 64);
        before != self.0[i / 64]
    }

    fn add(&mut self, other: &Set) -> bool {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        let mut has_changed = false;
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            has_changed |= *theirs & !*mine != 0;
            *mine |= theirs;
        }
        has_changed
    }

    fn contains(&self, i: usize) -> bool {
        self.0.get(i / 64).is_some_and(|bits| bits >> (i % 64) & 1 != 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.0
            .iter()
            .enumerate()
            .flat_map(|(word, &bits)| (0..64).filter(move |bit| bits >> bit & 1 != 0).map(move |bit| word * 64 + bit))
    }
}

impl Flow {
    /// `order`: the nodes of interest, parents before children. `is_nullable`: what is known of others.
    fn over(grammar: &Grammar, order: &[NodeId], is_nullable: Vec<bool>, is_leaf: &dyn Fn(NodeId) -> bool) -> Flow {
        let count = grammar.nodes.len();
        let mut flow = Flow {
            is_nullable,
            first: vec![Set::default(); count],
            last: vec![Set::default(); count],
            leaves: Vec::new(),
        };
        for &node in order {
            if is_leaf(node) {
                flow.first[node].insert(flow.leaves.len());
                flow.last[node].insert(flow.leaves.len());
                flow.leaves.push(node);
            }
        }
        // Children come after parents in `order`, so backwards most is known when it is needed.
        while order.iter().rev().fold(false, |changed, &node| flow.update(grammar, node, is_leaf) || changed) {}
        flow
    }

    fn update(&mut self, grammar: &Grammar, node: NodeId, is_leaf: &dyn Fn(NodeId) -> bool) -> bool {
        let was_nullable = self.is_nullable[node];
        let (mut first, mut last) = (std::mem::take(&mut self.first[node]), std::mem::take(&mut self.last[node]));
        let mut has_changed = false;
        let mut is_nullable = was_nullable;
        // A leaf keeps itself as first and last, whatever is below it, but is nullable if that is.
        match &grammar.nodes[node] {
            Node::Chars(_) | Node::Token(_) => {}
            Node::Sequence(items) => {
                let reach = |nullable: &[bool], ids: &mut dyn Iterator<Item = &NodeId>| {
                    let mut reached = Vec::new();
                    for &id in ids {
                        reached.push(id);
                        if !nullable[id] {
                            break;
                        }
                    }
                    reached
                };
                is_nullable |= items.iter().all(|&id| self.is_nullable[id]);
                if !is_leaf(node) {
                    for id in reach(&self.is_nullable, &mut items.iter()) {
                        has_changed |= first.add(&self.first[id]);
                    }
                    for id in reach(&self.is_nullable, &mut items.iter().rev()) {
                        has_changed |= last.add(&self.last[id]);
                    }
                }
            }
            _ => {
                let below: Vec<NodeId> = match &grammar.nodes[node] {
                    Node::Rule(rule) => vec![grammar.bodies[*rule]],
                    _ => grammar.children(node).to_vec(),
                };
                let may_skip = matches!(grammar.nodes[node], Node::Repeat { min: 0, .. });
                is_nullable |= may_skip || below.iter().any(|&id| self.is_nullable[id]);
                if !is_leaf(node) && !matches!(grammar.nodes[node], Node::Repeat { max: Some(0), .. }) {
                    for id in below.into_iter().filter(|&id| id != node) {
                        has_changed |= first.add(&self.first[id]);
                        has_changed |= last.add(&self.last[id]);
                    }
                }
            }
        }
        self.first[node] = first;
        self.last[node] = last;
        self.is_nullable[node] = is_nullable;
        has_changed || is_nullable != was_nullable
    }

    /// Calls `visit(before, after)` for all pairs of nodes below `nodes` where one's end may meet the other's start.
    fn visit_borders(&self, grammar: &Grammar, nodes: &[NodeId], visit: &mut dyn FnMut(NodeId, NodeId)) {
        for &node in nodes {
            match &grammar.nodes[node] {
                Node::Sequence(items) => {
                    for (i, &before) in items.iter().enumerate() {
                        for &after in &items[i + 1..] {
                            visit(before, after);
                            if !self.is_nullable[after] {
                                break;
                            }
                        }
                    }
                }
                Node::Repeat { node, max, .. } if max.is_none_or(|max| max > 1) => visit(*node, *node),
                _ => {}
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Split {
    AllSafe,
    Some,
    Unknown,
}

struct Choice<'a> {
    grammar: &'a Grammar,
    is_regular: Vec<bool>,
    is_lexeme: Vec<bool>,
    chars: Flow,                    // in terms of characters
    more: HashMap<NodeId, CharSet>, // continuing_chars() by lexeme
}

impl Choice<'_> {
    /// Makes the largest regular parts of `start` lexemes.
    fn mark(&mut self, start: NodeId) {
        let mut pending = vec![start];
        let mut is_seen = HashSet::from([start]);
        while let Some(node) = pending.pop() {
            if self.is_lexeme[node] {
                continue;
            }
            let is_single = matches!(self.grammar.nodes[node], Node::Chars(_) | Node::Token(_));
            let has_text = self.chars.first[node].iter().next().is_some();
            if self.is_regular[node] && has_text && !is_single {
                self.is_lexeme[node] = true;
                continue;
            }
            pending.extend(self.below(node).into_iter().filter(|&below| is_seen.insert(below)));
        }
    }

    fn below(&self, node: NodeId) -> Vec<NodeId> {
        match self.grammar.nodes[node] {
            Node::Rule(rule) => vec![self.grammar.bodies[rule]],
            _ => self.grammar.children(node).to_vec(),
        }
    }

    /// Splits the lexemes that break a rule into their parts.
    fn split_unsafe(&mut self) -> Split {
        let Some(unsafe_nodes) = self.find_unsafe() else {
            return Split::Unknown;
        };
        for &node in &unsafe_nodes {
            self.is_lexeme[node] = false;
            for below in self.below(node) {
                self.mark(below);
            }
        }
        if unsafe_nodes.is_empty() {
            Split::AllSafe
        } else {
            Split::Some
        }
    }

    /// None: it would take too long to find out.
    fn find_unsafe(&mut self) -> Option<HashSet<NodeId>> {
        for node in (0..self.is_lexeme.len()).filter(|&node| self.is_lexeme[node]) {
            if !self.more.contains_key(&node) {
                self.more.insert(node, self.continuing_chars(node));
            }
        }
        let grammar = self.grammar;
        let root = grammar.bodies[grammar.root];
        let is_leaf =
            |node: NodeId| self.is_lexeme[node] || matches!(grammar.nodes[node], Node::Chars(_) | Node::Token(_));
        let syntax = self.syntax_nodes(root);
        let flow = Flow::over(grammar, &syntax, self.chars.is_nullable.clone(), &is_leaf);
        let mut follow = vec![Set::default(); flow.leaves.len()];
        flow.visit_borders(grammar, &syntax, &mut |before, after| {
            for leaf in flow.last[before].iter() {
                follow[leaf].add(&flow.first[after]);
            }
        });
        let first_chars: Vec<CharSet> = flow.leaves.iter().map(|&leaf| self.first_chars(leaf)).collect();
        let more_chars: Vec<CharSet> =
            flow.leaves.iter().map(|leaf| self.more.get(leaf).cloned().unwrap_or_default()).collect();
        let mut unsafe_nodes = HashSet::new();
        let mut blame = |leaf: usize| {
            if self.is_lexeme[flow.leaves[leaf]] {
                unsafe_nodes.insert(flow.leaves[leaf]);
            }
        };
        let mut pairs = Pairs::default();
        pairs.add_all(&flow.first[root], &flow.first[root]);
        for set in &follow {
            pairs.add_all(set, set);
        }
        while let Some((a, b)) = pairs.pending.pop_front() {
            let is_same = a == b || self.is_same_text(flow.leaves[a], flow.leaves[b]);
            let is_either_lexeme = self.is_lexeme[flow.leaves[a]] || self.is_lexeme[flow.leaves[b]];
            if !is_same && !first_chars[a].overlaps(&first_chars[b]) {
                continue;
            }
            if !is_same && is_either_lexeme {
                blame(a); // rule 2
                blame(b);
                continue;
            }
            // Both may match the same text, so what follows either is expected together, and must not continue it.
            for (lexeme, other) in [(a, b), (b, a)] {
                if follow[other].iter().any(|next| more_chars[lexeme].overlaps(&first_chars[next])) {
                    blame(lexeme); // rule 1
                }
            }
            pairs.add_all(&follow[a], &follow[b]);
        }
        (!pairs.is_exhausted()).then_some(unsafe_nodes)
    }

    /// Nodes that are matched by rules: down to the lexemes.
    fn syntax_nodes(&self, start: NodeId) -> Vec<NodeId> {
        let mut nodes = vec![start];
        let mut is_seen = HashSet::from([start]);
        let mut next = 0;
        while next < nodes.len() {
            if !self.is_lexeme[nodes[next]] {
                nodes.extend(self.below(nodes[next]).into_iter().filter(|&below| is_seen.insert(below)));
            }
            next += 1;
        }
        nodes
    }

    fn chars_of(&self, leaves: &Set) -> CharSet {
        CharSet::union(leaves.iter().filter_map(|leaf| match &self.grammar.nodes[self.chars.leaves[leaf]] {
            Node::Chars(set) => Some(set),
            _ => None,
        }))
    }

    fn first_chars(&self, node: NodeId) -> CharSet {
        self.chars_of(&self.chars.first[node])
    }

    /// Characters that may go on inside `node` after a text with which it may also end. The two may be different
    /// ways to read that text, so this follows pairs of characters that can be read side by side.
    fn continuing_chars(&self, node: NodeId) -> CharSet {
        let inside = self.grammar.reachable(node);
        let mut follow = vec![Set::default(); self.chars.leaves.len()];
        self.chars.visit_borders(self.grammar, &inside, &mut |before, after| {
            for leaf in self.chars.last[before].iter() {
                follow[leaf].add(&self.chars.first[after]);
            }
        });
        let set_of = |leaf: usize| match &self.grammar.nodes[self.chars.leaves[leaf]] {
            Node::Chars(set) => set,
            _ => unreachable!("lexemes consist of characters"),
        };
        let may_end = |leaf: usize| self.chars.last[node].contains(leaf);
        let mut more = Set::default();
        let mut pairs = Pairs::default();
        pairs.add_all(&self.chars.first[node], &self.chars.first[node]);
        while let Some((a, b)) = pairs.pending.pop_front() {
            if !set_of(a).overlaps(set_of(b)) {
                continue;
            }
            if may_end(a) {
                more.add(&follow[b]);
            }
            if may_end(b) {
                more.add(&follow[a]);
            }
            pairs.add_all(&follow[a], &follow[b]);
        }
        if pairs.is_exhausted() {
            return CharSet::any();
        }
        self.chars_of(&more)
    }

    /// Certainly the same pattern: the same rule, or the same single characters in a row.
    fn is_same_text(&self, a: NodeId, b: NodeId) -> bool {
        match (&self.grammar.nodes[a], &self.grammar.nodes[b]) {
            (Node::Rule(a), Node::Rule(b)) => a == b,
            (Node::Chars(a), Node::Chars(b)) => a == b,
            (Node::Sequence(a), Node::Sequence(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(&a, &b)| self.is_same_text(a, b))
            }
            _ => false,
        }
    }
}

/// Pairs of leaves that may be expected at the same place, each once.
#[derive(Default)]
struct Pairs {
    seen: HashSet<(usize, usize)>,
    pending: VecDeque<(usize, usize)>,
    done: HashSet<(Vec<u64>, Vec<u64>)>,
    visited: usize,
}

impl Pairs {
    fn add_all(&mut self, left: &Set, right: &Set) {
        if self.is_exhausted() || !self.done.insert((left.0.clone(), right.0.clone())) {
            return;
        }
        for a in left.iter() {
            for b in right.iter() {
                self.visited += 1;
                let pair = (a.min(b), a.max(b));
                if self.seen.insert(pair) {
                    self.pending.push_back(pair);
                }
            }
        }
        if self.is_exhausted() {
            self.pending.clear();
        }
    }

    fn is_exhausted(&self) -> bool {
        self.visited > MAX_PAIRS_VISITED
    }
}
