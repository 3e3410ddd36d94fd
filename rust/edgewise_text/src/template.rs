//! Chat templates as transformers renders them: jinja2's ImmutableSandboxedEnvironment with trim_blocks and
//! lstrip_blocks, loop controls, the {% generation %} block, raise_exception, strftime_now and its own tojson.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

use chrono::{Local, TimeZone};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};

use crate::abi::{give_back, guarded, text, Bytes, Failure, Status};
use crate::python;
use crate::sandbox::{run, AfterTime, Bounds, Outcome};

/// The largest of 70 real templates has 17 kB.
const MAX_SOURCE_BYTES: usize = 256 << 10;
const MAX_CONTEXT_BYTES: usize = 64 << 20;

/// minijinja charges fuel for each instruction and for each 64 bytes it creates or visits. Real templates use less
/// than 0.5 per byte of conversation and a few thousand to start with (tests/golden/check_templates.py's set).
const BASE_FUEL: u64 = 250_000;
const FUEL_PER_CONTEXT_BYTE: u64 = 8;

/// Values that a template nests in each other are printed and dropped by recursion: at most half a level per fuel,
/// under 512 bytes of stack for a level. Expressions are parsed and compiled by recursion: two bytes of source a
/// level, under 1 kB of stack.
const STACK_BYTES_PER_FUEL: u64 = 256;
const STACK_BYTES_PER_SOURCE_BYTE: u64 = 512;
const BASE_STACK_BYTES: u64 = 16 << 20;
const MAX_STACK_BYTES: u64 = 1 << 30;

const BASE_MEMORY_BYTES: i64 = 256 << 20;
const MEMORY_PER_CONTEXT_BYTE: i64 = 64;
const BASE_TIME: Duration = Duration::from_secs(10);
const TIME_PER_CONTEXT_BYTE: Duration = Duration::from_micros(2);

thread_local! {
    static NOW: Cell<i64> = const { Cell::new(0) };
}

pub struct Template {
    environment: Arc<Environment<'static>>,
    is_disabled: AtomicBool, // it exceeded its bounds once; a thread may still be busy with it
}

const NAME: &str = "chat template";

fn compile(source: &str) -> Result<Template, Failure> {
    if source.len() > MAX_SOURCE_BYTES {
        return Err(Failure::limit(format!(
            "the chat template has {} bytes; at most {MAX_SOURCE_BYTES} are accepted",
            source.len()
        )));
    }
    let source = replace_generation_blocks(source);
    let bounds = Bounds {
        stack_bytes: (BASE_STACK_BYTES + STACK_BYTES_PER_SOURCE_BYTE * source.len() as u64) as usize,
        memory_bytes: BASE_MEMORY_BYTES,
        time: BASE_TIME,
        after_time: AfterTime::Stops,
        is_stopped: Arc::default(),
    };
    let outcome = run(bounds, move || {
        let mut environment = environment();
        environment.add_template_owned(NAME, source).map_err(failure)?;
        Ok(Template { environment: Arc::new(environment), is_disabled: AtomicBool::new(false) })
    });
    match outcome {
        Outcome::Finished(result) => result,
        Outcome::Abandoned(reason) => Err(Failure::limit(format!("compiling the chat template {reason}"))),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters are valid"));
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(python::method);
    environment.set_formatter(|out, state, value| {
        if value.kind() == ValueKind::Number && !value.is_integer() {
            out.write_str(&python::float_text(f64::try_from(value.clone())?)).map_err(Error::from)
        } else {
            minijinja::escape_formatter(out, state, value)
        }
    });
    environment.add_filter("tojson", python::tojson);
    environment.add_filter("int", python::int);
    environment.add_filter("float", python::float);
    environment.add_filter("indent", python::indent);
    environment.add_filter("e", python::escape);
    environment.add_filter("escape", python::escape);
    environment.add_test("sequence", python::is_sequence);
    environment.add_test("iterable", python::is_iterable);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment.add_function("cycler", |items: Rest<Value>| minijinja_contrib::globals::cycler(items.to_vec()));
    environment.add_function("joiner", minijinja_contrib::globals::joiner);
    environment
}

fn raise_exception(message: &Value) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("{REFUSED}{message}")))
}

/// Marks a message of raise_exception on its way through minijinja's error.
const REFUSED: &str = "\u{1}refused\u{1}";

fn strftime_now(format: &str) -> Result<String, Error> {
    let now = Local.timestamp_opt(NOW.get(), 0).earliest();
    let mut out = String::new();
    // Writing fails for a directive that does not exist.
    now.and_then(|now| write!(out, "{}", now.format(format)).ok())
        .map(|()| out)
        .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: bad format {format:?}")))
}

fn render(template: &Template, context: &str, unix_seconds: i64) -> Result<String, Failure> {
    if context.len() > MAX_CONTEXT_BYTES {
        return Err(Failure::limit(format!(
            "the conversation has {} bytes; at most {MAX_CONTEXT_BYTES} are accepted",
            context.len()
        )));
    }
    let mut variables: BTreeMap<String, Value> = serde_json::from_str(context)
        .map_err(|e| Failure::invalid(format!("the template's variables are not a JSON object: {e}")))?;
    // transformers passes these whether they were given or not.
    for name in ["tools", "documents"] {
        variables.entry(name.to_string()).or_insert_with(|| Value::from(()));
    }
    if template.is_disabled.load(Ordering::Relaxed) {
        return Err(Failure::limit("the chat template took too long or too much memory before and is disabled"));
    }
    let fuel = BASE_FUEL + FUEL_PER_CONTEXT_BYTE * context.len() as u64;
    let bounds = Bounds {
        stack_bytes: (BASE_STACK_BYTES + STACK_BYTES_PER_FUEL * fuel).min(MAX_STACK_BYTES) as usize,
        memory_bytes: BASE_MEMORY_BYTES + MEMORY_PER_CONTEXT_BYTE * context.len() as i64,
        time: BASE_TIME + TIME_PER_CONTEXT_BYTE * context.len() as u32,
        after_time: AfterTime::Stops,
        is_stopped: Arc::default(),
    };
    let environment = template.environment.clone();
    let outcome = run(bounds, move || {
        NOW.set(unix_seconds);
        let mut environment = Environment::clone(&environment);
        environment.set_fuel(Some(fuel));
        let compiled = environment.get_template(NAME).map_err(failure)?;
        compiled.render(Value::from_pairs(variables)).map_err(failure)
    });
    match outcome {
        Outcome::Finished(result) => result,
        Outcome::Abandoned(reason) => {
            template.is_disabled.store(true, Ordering::Relaxed);
            Err(Failure::limit(format!("the chat template {reason}")))
        }
    }
}

fn failure(error: Error) -> Failure {
    let detail = error.detail().unwrap_or_default();
    if let Some(message) = detail.strip_prefix(REFUSED) {
        return Failure::invalid(format!("the chat template refuses this conversation: {message}"));
    }
    let line = error.line().map_or_else(String::new, |line| format!(" (line {line})"));
    match error.kind() {
        ErrorKind::OutOfFuel => Failure::limit("the chat template takes too much work"),
        kind if detail.is_empty() => Failure::invalid(format!("the chat template fails: {kind}{line}")),
        kind => Failure::invalid(format!("the chat template fails: {kind}: {detail}{line}")),
    }
}

/// transformers' {% generation %} block marks what the assistant wrote, for training; rendered, it is a scope.
fn replace_generation_blocks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut is_raw = false;
    while let Some(start) = rest.find('{') {
        let (before, tag) = rest.split_at(start);
        out.push_str(before);
        let end = match tag.as_bytes().get(1) {
            Some(b'#') if !is_raw => tag.find("#}").map(|i| i + 2),
            Some(b'%') => end_of_statement(tag),
            _ => Some(1),
        };
        let (tag, after) = tag.split_at(end.unwrap_or(if is_raw { 1 } else { tag.len() }));
        let word = statement_word(tag);
        match word {
            Some("generation") if !is_raw => out.push_str(&tag.replacen("generation", "with", 1)),
            Some("endgeneration") if !is_raw => out.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            _ => out.push_str(tag),
        }
        is_raw = word == Some("raw") || (is_raw && word != Some("endraw"));
        rest = after;
    }
    out + rest
}

/// The word of a statement that consists of nothing else: "{%- generation -%}".
fn statement_word(tag: &str) -> Option<&str> {
    let inner = tag.strip_prefix("{%")?.strip_suffix("%}")?;
    Some(inner.trim_start_matches(['-', '+']).trim_end_matches(['-', '+']).trim())
}

/// The length of "{% ... %}", whose string literals may contain "%}".
fn end_of_statement(tag: &str) -> Option<usize> {
    let mut quote = None;
    let mut bytes = tag.bytes().enumerate().skip(2).peekable();
    while let Some((_, byte)) = bytes.next() {
        match (quote, byte) {
            (Some(_), b'\\') => {
                bytes.next();
            }
            (Some(q), b) if q == b => quote = None,
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'%') => {
                if let Some((i, b'}')) = bytes.peek() {
                    return Some(i + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_template_compile(
    source: *const u8,
    source_size: usize,
    out: *mut *mut Template,
    error: *mut Bytes,
) -> Status {
    guarded(error, || {
        let template = compile(text(source, source_size, "the chat template")?)?;
        out.write(Box::into_raw(Box::new(template)));
        Ok(Vec::new())
    })
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_template_render(
    compiled: *const Template,
    context: *const u8,
    context_size: usize,
    unix_seconds: i64,
    output: *mut Bytes,
) -> Status {
    guarded(output, || {
        let context = text(context, context_size, "the template's variables")?;
        render(&*compiled, context, unix_seconds).map(String::into_bytes)
    })
}

/// # Safety
/// See `include/edgewise_text.h`.
#[no_mangle]
pub unsafe extern "C" fn edgewise_template_free(compiled: *mut Template) {
    give_back(compiled);
}
