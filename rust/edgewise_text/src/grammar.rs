//! Constrained decoding: llguidance over the model's vocabulary.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{ApproximateTokEnv, InferenceCapabilities, SimpleVob, TokEnv, TokRxInfo, TokTrie};
use llguidance::{Matcher, ParserFactory};

use crate::abi::{give_back, guarded, slice, text, Bytes, Failure, Status};
use crate::gbnf;
use crate::places::{Place, Places};
use crate::sandbox::{run, AfterTime, Bounds, Outcome, Reason};

const MAX_GRAMMAR_BYTES: usize = 128 << 10;
const MAX_VOCABULARY: usize = 1 << 24; // ids share a word with a byte in llguidance's trie
const MAX_TOKEN_BYTES: usize = 1 << 16;

/// Compiling runs on a thread with these bounds: schemas and grammars come from clients. llguidance's own limits
/// end the work, but not always soon (many patterns in allOf or patternProperties are compared in pairs): late work
/// goes on when nobody else wants the time, and only so many may be at it (`places.rs`).
const COMPILE_STACK_BYTES: usize = 256 << 20;
const COMPILE_TIME: Duration = Duration::from_secs(5);
/// Callers wait meanwhile, and there are few of them: only one at a time may wait that long.
const COMPILE_TIME_BESIDE: Duration = Duration::from_secs(1);
/// Late work that got less than this did not take too long: the machine had no time for it.
const FAIR_PROCESSOR_TIME: Duration = Duration::from_millis(2500);
const MAX_REMEMBERED: usize = 64;

/// Bytes that no text contains, which llguidance reads as "this is a control token".
const CONTROL_MARKER: u8 = TokTrie::SPECIAL_TOKEN_MARKER;

pub struct Grammars {
    factory: Arc<ParserFactory>,
    places: Arc<Places>,
    waiting: AtomicUsize,
    too_slow: Memory,
}

/// A caller that waits for its grammar.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    /// Also whether others wait already.
    fn enter(waiting: &AtomicUsize) -> (Waiting<'_>, bool) {
        let others = waiting.fetch_add(1, Ordering::Relaxed);
        (Waiting(waiting), others > 0)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The grammars that last took too long or too much memory, by hashes that nobody outside can foresee.
#[derive(Default)]
struct Memory {
    hasher: RandomState,
    hashes: Mutex<VecDeque<u64>>,
}

impl Memory {
    fn hash(&self, kind: Kind, source: &str) -> u64 {
        self.hasher.hash_one((kind as u32, source))
    }

    fn holds(&self, hash: u64) -> bool {
        self.hashes.lock().unwrap_or_else(PoisonError::into_inner).contains(&hash)
    }

    fn add(&self, hash: u64) {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        if hashes.len() == MAX_REMEMBERED {
            hashes.pop_front();
        }
        hashes.push_back(hash);
    }
}

pub struct GrammarMatcher {
    matcher: Matcher,
}

#[derive(Clone, Copy)]
enum Kind {
    JsonSchema,
    Regex,
    Lark,
    Gbnf,
}

impl Kind {
    fn from_c(kind: u32) -> Result<Kind, Failure> {
        match kind {
            0 => Ok(Kind::JsonSchema),
            1 => Ok(Kind::Regex),
            2 => Ok(Kind::Lark),
            3 => Ok(Kind::Gbnf),
            _ => Err(Failure::invalid(format!("{kind} is no kind of grammar"))),
        }
    }
}

fn create(bytes: &[u8], offsets: &[usize], is_control: &[u8], ends: &[u32]) -> Result<Grammars, Failure> {
    let count = is_control.len();
    if count == 0 || count > MAX_VOCABULARY || ends.is_empty() || ends.iter().any(|&end| end as usize >= count) {
        return Err(Failure::invalid("the vocabulary is empty, too large or without an end token"));
    }
    let mut words = Vec::with_capacity(count);
    for i in 0..count {
        let word = offsets[i]..offsets[i + 1];
        let word = bytes.get(word).filter(|word| word.len() < MAX_TOKEN_BYTES);
        let word = word.ok_or_else(|| Failure::invalid(format!("token {i} has no bytes in range")))?;
        let is_special = is_control[i] != 0 || ends.contains(&(i as u32));
        words.push(if is_special && !word.is_empty() { [&[CONTROL_MARKER], word].concat() } else { word.to_vec() });
    }
    let trie = TokTrie::from(&TokRxInfo::new(count as u32, ends[0]), &words).with_eos_tokens(ends);
    // Greedy longest match stands in for the real tokenizer: only forced tokens would ask for it, which are off.
    let environment: TokEnv = Arc::new(ApproximateTokEnv::new(trie));
    let mut factory =
        ParserFactory::new(&environment, InferenceCapabilities::default(), &SlicedBiasComputer::general_slices())
            .map_err(reason)?;
    factory.quiet();
    *factory.limits_mut() = limits();
    Ok(Grammars {
        factory: Arc::new(factory),
        places: Arc::default(),
        waiting: AtomicUsize::new(0),
        too_slow: Memory::default(),
    })
}

fn limits() -> ParserLimits {
    ParserLimits {
        max_lexer_states: 50_000, // one to two kB each
        max_grammar_size: 200_000,
        step_lexer_fuel: 500_000,
        step_max_items: 200_000, // GBNF grammars that have no lexer need more than the default
        verbose_errors: false,
        ..ParserLimits::default()
    }
}

fn compile(grammars: &Grammars, owner: &str, kind: Kind, source: &str) -> Result<GrammarMatcher, Failure> {
    if source.len() > MAX_GRAMMAR_BYTES {
        return Err(Failure::limit(format!(
            "the grammar has {} bytes; at most {MAX_GRAMMAR_BYTES} are accepted",
            source.len()
        )));
    }
    let hash = grammars.too_slow.hash(kind, source);
    if grammars.too_slow.holds(hash) {
        return Err(Failure::limit("compiling it took too long or too much memory when it was tried before"));
    }
    let place = Place::take(&grammars.places, owner)?;
    let (_waiting, is_beside) = Waiting::enter(&grammars.waiting);
    let bounds = Bounds {
        stack_bytes: COMPILE_STACK_BYTES,
        memory_bytes: place.memory_bytes,
        time: if is_beside { COMPILE_TIME_BESIDE } else { COMPILE_TIME },
        after_time: AfterTime::GoesOn,
        is_stopped: place.is_stopped.clone(),
    };
    let is_reduced = place.is_reduced;
    let factory = grammars.factory.clone();
    let source = source.to_string();
    let outcome = run(bounds, move || {
        let _place = place;
        let grammar = read(kind, &source)?;
        let mut matcher = Matcher::new(factory.create_parser(grammar));
        // Notices a grammar that allows only the empty text.
        match matcher.consume_tokens(&[]) {
            Ok(()) => Ok(GrammarMatcher { matcher }),
            Err(e) => Err(reason(e)),
        }
    });
    match outcome {
        Outcome::Finished(result) => result,
        Outcome::Abandoned(Reason::TooLate(_)) if is_beside => {
            Err(Failure::busy("another large grammar is being compiled; try again later"))
        }
        Outcome::Abandoned(Reason::TooLate(worked)) if worked < FAIR_PROCESSOR_TIME => Err(Failure::busy(format!(
            "the machine was too busy to compile it within {} s; try again later",
            COMPILE_TIME.as_secs()
        ))),
        Outcome::Abandoned(Reason::TooMuchMemory) if is_reduced => {
            Err(Failure::busy("it took more memory than other large grammars leave just now; try again later"))
        }
        Outcome::Abandoned(reason) => {
            grammars.too_slow.add(hash);
            Err(Failure::limit(format!("compiling it {reason}")))
        }
    }
}

fn read(kind: Kind, source: &str) -> Result<TopLevelGrammar, Failure> {
    match kind {
        Kind::JsonSchema => read_schema(source).map(TopLevelGrammar::from_json_schema),
        // llguidance would drop it.
        Kind::Regex if (source.len() - source.trim_end_matches('\\').len()) % 2 == 1 => {
            Err(Failure::invalid("the regular expression ends in a backslash that escapes nothing"))
        }
        Kind::Regex => Ok(TopLevelGrammar::from_regex(source)),
        Kind::Lark => Ok(TopLevelGrammar::from_lark(source.to_string())),
        Kind::Gbnf => gbnf::to_lark(source).map(TopLevelGrammar::from_lark).map_err(reason),
    }
}

/// llguidance's messages may quote the whole grammar, or be meant for its own developers.
fn reason(error: impl std::fmt::Display) -> Failure {
    const MAX_CHARS: usize = 500;
    let text = error.to_string().replace("\n<non-verbose/>", "").replace("NoExtensionBias", "no text matches it");
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => Failure::invalid(format!("{} ...", &text[..end])),
        None => Failure::invalid(text),
    }
}

/// llguidance allows any amount of white space between JSON's tokens, in which small models lose themselves.
const WHITE_SPACE: &str = r"[ \t]{1,8}|\r?\n[ \t]{0,64}";

fn read_schema(source: &str) -> Result<serde_json::Value, Failure> {
    let mut schema: serde_json::Value =
        serde_json::from_str(source).map_err(|e| Failure::invalid(format!("the schema is not JSON: {e}")))?;
    if let Some(members) = schema.as_object_mut() {
        members.entry("x-guidance").or_insert_with(|| serde_json::json!({"whitespace_pattern": WHITE_SPACE}));
    }
    Ok(schema)
}

fn mask(matcher: &mut Matcher, logits: &mut [f32]) -> Result<usize, Failure> {
    let allowed = matcher.compute_mask_or_eos().map_err(reason)?;
    Ok(apply(&allowed, logits))
}

fn apply(allowed: &SimpleVob, logits: &mut [f32]) -> usize {
    let mut kept = 0;
    let words = allowed.as_slice();
    for (i, chunk) in logits.chunks_mut(32).enumerate() {
        let inside = allowed.len().saturating_sub(i * 32);
        let bits = words.get(i).copied().unwrap_or(0) & if inside >= 32 { u32::MAX } else { (1 << inside) - 1 };
        if bits == 0 {
            chunk.fill(f32::NEG_INFINITY);
            continue;
        }
        for (bit, logit) in chunk.iter_mut().enumerate() {
            if bits >> bit & 1 == 0 {
                *logit = f32::NEG_INFINITY;
            } else {
                kept += 1;
            }
        }
    }
    kept
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_grammars_create(
    bytes: *const u8,
    offsets: *const usize,
    is_control: *const u8,
    count: usize,
    end_tokens: *const u32,
    end_token_count: usize,
    out: *mut *mut Grammars,
    error: *mut Bytes,
) -> Status {
    guarded(error, || {
        let offsets = slice(offsets, count + 1);
        let bytes = slice(bytes, offsets[count]);
        let grammars = create(bytes, offsets, slice(is_control, count), slice(end_tokens, end_token_count))?;
        out.write(Box::into_raw(Box::new(grammars)));
        Ok(Vec::new())
    })
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_grammars_free(grammars: *mut Grammars) {
    give_back(grammars);
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_matcher_compile(
    grammars: *const Grammars,
    owner: *const u8,
    owner_size: usize,
    kind: u32,
    source: *const u8,
    source_size: usize,
    out: *mut *mut GrammarMatcher,
    error: *mut Bytes,
) -> Status {
    guarded(error, || {
        let owner = text(owner, owner_size, "the owner")?;
        let source = text(source, source_size, "the grammar")?;
        let matcher = compile(&*grammars, owner, Kind::from_c(kind)?, source)?;
        out.write(Box::into_raw(Box::new(matcher)));
        Ok(Vec::new())
    })
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_matcher_mask(
    matcher: *mut GrammarMatcher,
    logits: *mut f32,
    count: usize,
    allowed: *mut usize,
    error: *mut Bytes,
) -> Status {
    guarded(error, || {
        let logits = if count == 0 { &mut [] } else { std::slice::from_raw_parts_mut(logits, count) };
        allowed.write(mask(&mut (*matcher).matcher, logits)?);
        Ok(Vec::new())
    })
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_matcher_accept(
    matcher: *mut GrammarMatcher,
    token: u32,
    error: *mut Bytes,
) -> Status {
    guarded(error, || (*matcher).matcher.consume_token(token).map(|()| Vec::new()).map_err(reason))
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_matcher_is_complete(matcher: *const GrammarMatcher) -> i32 {
    let matcher = &(*matcher).matcher;
    i32::from(matcher.is_stopped() && !matcher.is_error())
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_matcher_free(matcher: *mut GrammarMatcher) {
    give_back(matcher);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::places::{lose, MAX_OF_ONE_OWNER};

    #[test]
    fn a_grammar_that_takes_too_much_does_not_keep_its_place() {
        let bytes: Vec<u8> = (0..=255).chain(*b"end").collect();
        let offsets: Vec<usize> = (0..=256).chain([259]).collect();
        let control: Vec<u8> = (0..257).map(|token| u8::from(token == 256)).collect();
        let grammars = create(&bytes, &offsets, &control, &[256]).ok().expect("grammars");
        for _ in 0..10 {
            lose(&grammars.places, "a"); // those below may take little, and end soon
        }
        for number in 0..MAX_OF_ONE_OWNER + 1 {
            let patterns: Vec<String> = (0..16)
                .map(|i| format!(r#"{{"type":"string","pattern":".*{}.*"}}"#, 100 * number + i + 1000))
                .collect();
            let failure =
                compile(&grammars, "a", Kind::JsonSchema, &format!(r#"{{"allOf":[{}]}}"#, patterns.join(",")));
            assert_eq!(failure.err().expect("too much").message, "compiling it takes too much memory");
        }
        assert!(compile(&grammars, "b", Kind::JsonSchema, r#"{"type":"object"}"#).is_ok());
    }

    #[test]
    fn what_took_too_long_is_remembered_for_a_while() {
        let memory = Memory::default();
        let hash = memory.hash(Kind::Regex, "slow");
        assert_ne!(hash, memory.hash(Kind::Lark, "slow"));
        memory.add(hash);
        assert!(memory.holds(hash));
        for i in 0..MAX_REMEMBERED {
            memory.add(memory.hash(Kind::Regex, &i.to_string()));
        }
        assert!(!memory.holds(hash));
    }
}
