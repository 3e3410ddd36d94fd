//! The parts of Python that chat templates see: json.dumps, str() of floats, jinja2's `sequence` test.

use std::fmt::Write;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{filters, Error, ErrorKind, State, Value};

/// Nesting beyond this is refused: the writer recurses, and no real tool schema comes near.
const MAX_DEPTH: usize = 500;

/// transformers' filter: json.dumps(x, ensure_ascii=False, indent, separators, sort_keys), without HTML escaping.
pub fn tojson(state: &State, value: &Value, options: Kwargs) -> Result<Value, Error> {
    let indent: Option<Value> = options.get("indent")?;
    let separators: Option<Vec<String>> = options.get("separators")?;
    let indent = match indent {
        None => None,
        Some(value) if value.is_none() => None,
        Some(value) => Some(match value.as_str() {
            Some(text) => text.to_string(),
            None => " ".repeat(usize::try_from(i64::try_from(value)?.clamp(0, 64)).unwrap_or(0)),
        }),
    };
    let (item_separator, key_separator) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        Some(_) => return Err(Error::new(ErrorKind::InvalidOperation, "tojson: separators takes two strings")),
        None if indent.is_some() => (",".to_string(), ": ".to_string()),
        None => (", ".to_string(), ": ".to_string()),
    };
    let mut writer = JsonWriter {
        state,
        out: String::new(),
        charged: 0,
        indent,
        item_separator,
        key_separator,
        ensure_ascii: options.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false),
        sort_keys: options.get::<Option<bool>>("sort_keys")?.unwrap_or(false),
    };
    options.assert_all_used()?;
    writer.value(value, 0)?;
    Ok(Value::from(writer.out))
}

struct JsonWriter<'a, 'template, 'env> {
    state: &'a State<'template, 'env>,
    out: String,
    charged: usize, // bytes of `out` already paid for in fuel
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    ensure_ascii: bool,
    sort_keys: bool,
}

impl JsonWriter<'_, '_, '_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::InvalidOperation, "tojson: the value is nested too deeply"));
        }
        // One unit per value and one per 64 bytes, as the engine itself charges, so that huge output stops early.
        self.state.consume_fuel(1 + ((self.out.len() - self.charged) / 64) as u64)?;
        self.charged = self.out.len();
        match value.kind() {
            ValueKind::None => self.out.push_str("null"),
            ValueKind::Bool => self.out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.out.push_str(&number_text(value)),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq => self.list(value, depth)?,
            ValueKind::Map => self.object(value, depth)?,
            kind => {
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("a value of type {kind} is not JSON serializable"),
                ))
            }
        }
        Ok(())
    }

    fn list(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('[');
        let mut is_empty = true;
        for item in value.try_iter()? {
            self.separate(is_empty, depth + 1);
            is_empty = false;
            self.value(&item, depth + 1)?;
        }
        self.close(']', is_empty, depth);
        Ok(())
    }

    fn object(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('{');
        let mut keys: Vec<Value> = value.try_iter()?.collect();
        if self.sort_keys {
            keys.sort();
        }
        for (i, key) in keys.iter().enumerate() {
            self.separate(i == 0, depth + 1);
            let name = match key.kind() {
                ValueKind::None => "null".to_string(),
                ValueKind::Bool => if key.is_true() { "true" } else { "false" }.to_string(),
                ValueKind::Number => number_text(key),
                ValueKind::String => key.as_str().unwrap_or_default().to_string(),
                kind => {
                    return Err(Error::new(
                        ErrorKind::InvalidOperation,
                        format!("tojson: a key must be a string or a number, not {kind}"),
                    ))
                }
            };
            self.string(&name);
            self.out.push_str(&self.key_separator);
            self.value(&value.get_item(key)?, depth + 1)?;
        }
        self.close('}', keys.is_empty(), depth);
        Ok(())
    }

    fn separate(&mut self, is_first: bool, depth: usize) {
        if !is_first {
            self.out.push_str(&self.item_separator);
        }
        self.break_line(depth);
    }

    fn close(&mut self, bracket: char, is_empty: bool, depth: usize) {
        if !is_empty {
            self.break_line(depth);
        }
        self.out.push(bracket);
    }

    fn break_line(&mut self, depth: usize) {
        if let Some(indent) = &self.indent {
            self.out.push('\n');
            for _ in 0..depth {
                self.out.push_str(indent);
            }
        }
    }

    fn string(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                '\u{8}' => self.out.push_str("\\b"),
                '\u{c}' => self.out.push_str("\\f"),
                c if (c as u32) < 0x20 || (self.ensure_ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(self.out, "\\u{unit:04x}");
                    }
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn number_text(value: &Value) -> String {
    if value.is_integer() {
        value.to_string()
    } else {
        f64::try_from(value.clone()).map_or_else(|_| value.to_string(), float_text)
    }
}

/// repr() of a Python float: shortest digits that read back, exponent outside 1e-4 .. 1e16.
pub fn float_text(x: f64) -> String {
    if x.is_nan() {
        return "NaN".to_string();
    }
    if x.is_infinite() {
        return if x > 0.0 { "Infinity" } else { "-Infinity" }.to_string();
    }
    let scientific = format!("{x:e}"); // Rust's digits are the shortest too: "1.5e20"
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..16).contains(&exponent) {
        let plain = format!("{x}");
        if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

/// jinja2's test: whatever has a length and can be indexed, so strings and mappings too.
pub fn is_sequence(value: &Value) -> bool {
    matches!(value.kind(), ValueKind::Seq | ValueKind::String | ValueKind::Map | ValueKind::Undefined)
}

pub fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// jinja2's filters `int` and `float`: minijinja's, but what cannot be converted becomes 0.
pub fn int(
    state: &State,
    value: &Value,
    default: Option<Value>,
    base: Option<u32>,
    more: Kwargs,
) -> Result<Value, Error> {
    let default = default.or(more.get("default")?).unwrap_or_else(|| Value::from(0));
    filters::int(state, value, Some(default), base, more)
}

pub fn float(state: &State, value: &Value, default: Option<Value>, more: Kwargs) -> Result<Value, Error> {
    let default = default.or(more.get("default")?).unwrap_or_else(|| Value::from(0.0));
    filters::float(state, value, Some(default), more)
}

/// jinja2's filter: a final line break stays, empty lines are indented only if `blank`.
pub fn indent(state: &State, text: &str, options: Rest<Value>, more: Kwargs) -> Result<String, Error> {
    let option = |position: usize, name: &str| match options.get(position) {
        Some(value) => Ok(Some(value.clone())),
        None => more.get::<Option<Value>>(name),
    };
    let width = option(0, "width")?.unwrap_or_else(|| Value::from(4));
    let first = option(1, "first")?.is_some_and(|value| value.is_true());
    let blank = option(2, "blank")?.is_some_and(|value| value.is_true());
    more.assert_all_used()?;
    let padded = format!("{text}\n"); // as jinja2 does, so that a final line break stays
    let lines = split_lines(&padded);
    let width_bytes = width.as_str().map_or_else(|| usize::try_from(width.clone()), |text| Ok(text.len()))?;
    state.consume_fuel(((lines.len() + 1) as u64).saturating_mul(width_bytes as u64) / 64)?;
    let indention = width.as_str().map_or_else(|| " ".repeat(width_bytes), str::to_string);
    let mut out = String::new();
    for (i, line) in lines.iter().enumerate() {
        if i > 0 {
            out.push('\n');
        }
        if if i == 0 { first } else { blank || !line.is_empty() } {
            out.push_str(&indention);
        }
        out.push_str(line);
    }
    Ok(out)
}

/// str.splitlines()
fn split_lines(text: &str) -> Vec<&str> {
    let is_break =
        |c| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(end) = rest.find(is_break) {
        lines.push(&rest[..end]);
        rest = &rest[end..];
        let length = if rest.starts_with("\r\n") { 2 } else { rest.chars().next().map_or(0, char::len_utf8) };
        rest = &rest[length..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

/// markupsafe.escape
pub fn escape(text: &Value) -> Value {
    if text.is_safe() {
        return text.clone();
    }
    let mut out = String::new();
    for c in text.to_string().chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    Value::from_safe_string(out)
}

/// Python's methods of strings, lists and dicts: minijinja-contrib's, and those it lacks.
pub fn method(state: &mut State, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Error> {
    if let ("splitlines", Some(text), []) = (name, value.as_str(), arguments) {
        return Ok(split_lines(text).into_iter().map(Value::from).collect());
    }
    if value.kind() == ValueKind::Seq && name == "index" {
        let (wanted,): (&Value,) = minijinja::value::from_args(arguments)?;
        let position = value.try_iter()?.position(|item| item == *wanted);
        return position
            .map(Value::from)
            .ok_or_else(|| Error::new(ErrorKind::InvalidOperation, format!("{wanted} is not in the list")));
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments)
}
