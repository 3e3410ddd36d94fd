"""Chat templates as transformers renders them (transformers/utils/chat_template_utils.py, version 4.57), with
Python's jinja2: the oracle for src/text/chat_template. Also the conversations that the checks render.
"""
import datetime
import json

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

# 2024-07-26 12:34:56 UTC: the moment strftime_now shows in checks (run them with TZ=UTC)
NOW = 1721997296


class GenerationBlock(jinja2.ext.Extension):
    """{% generation %} ... {% endgeneration %}: rendered, a scope of its own."""
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_render_body")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(line)

    def _render_body(self, caller):
        return caller()


def environment():
    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, jinja2.ext.loopcontrols])

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def strftime_now(format):
        return datetime.datetime.fromtimestamp(NOW).strftime(format)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = strftime_now
    return env


def render(source, context):
    """(True, text) or (False, reason)."""
    try:
        variables = {"tools": None, "documents": None, **context}
        return True, environment().from_string(source).render(**variables)
    except Exception as e:  # whatever a template can raise is a refusal
        return False, f"{type(e).__name__}: {e}"


WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather <b>& forecast</b> for a place, e.g. \"Zürich\"",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "The city, like 東京"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
                "days": {"type": "integer", "minimum": 1, "maximum": 7.5},
                "items": {"type": "array", "items": {"type": "string"}, "description": "what to report"},
            },
            "required": ["city"],
        },
    },
}
CLOCK = {
    "type": "function",
    "function": {"name": "clock", "description": "The time", "parameters": {"type": "object", "properties": {}}},
}


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def call(name, arguments, id):
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def conversations():
    """name -> the template's variables"""
    system = {"role": "system", "content": "You are terse."}
    base = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True}
    called = assistant("", tool_calls=[call("get_weather", {"city": "Zürich", "days": 2, "x": [1.5, None, True]},
                                            "call12345")])
    result = {"role": "tool", "name": "get_weather", "content": "{\"sky\": \"clear\"}", "tool_call_id": "call12345"}
    two = assistant(None, tool_calls=[call("get_weather", {"city": "A"}, "aaaaaaaaa"),
                                      call("clock", {}, "bbbbbbbbb")])
    thinking = assistant("<think>\nLet me see.\n</think>\n\nFour.")
    parts = {"role": "user", "content": [{"type": "text", "text": "Hello "}, {"type": "text", "text": "there"}]}
    sets = {
        "one user": {"messages": [user("Hi, \"you\" <there> & 'so' on\n")]},
        "no prompt": {"messages": [user("Hi"), assistant("Hello!")], "add_generation_prompt": False},
        "system": {"messages": [system, user("2+2?"), assistant("4"), user("  and 3+3? ")]},
        "late system": {"messages": [user("a"), assistant("b"), system, user("c")]},
        "two users": {"messages": [user("a"), user("b")]},
        "empty": {"messages": []},
        "parts": {"messages": [system, parts]},
        "tools": {"messages": [user("Weather?")], "tools": [WEATHER, CLOCK]},
        "tools and system": {"messages": [system, user("Weather?")], "tools": [WEATHER]},
        "tool call": {"messages": [user("Weather?"), called, result], "tools": [WEATHER]},
        "tool call answered": {"messages": [system, user("Weather?"), called, result, assistant("Clear."), user("?")],
                               "tools": [WEATHER, CLOCK]},
        "two tool calls": {"messages": [user("Both?"), two, result, {**result, "tool_call_id": "bbbbbbbbb"}],
                           "tools": [WEATHER, CLOCK]},
        "arguments as text": {"messages": [user("?"), assistant(
            "", tool_calls=[call("clock", "{\"zone\": \"CET\"}", "ccccccccc")]), result], "tools": [CLOCK]},
        "thinking on": {"messages": [user("2+2?")], "enable_thinking": True, "thinking": True},
        "thinking off": {"messages": [user("2+2?")], "enable_thinking": False, "thinking": False},
        "past thinking": {"messages": [user("2+2?"), thinking, user("3+3?")]},
        "reasoning field": {"messages": [user("2+2?"), assistant("4", reasoning_content="Easy."), user("3+3?")]},
        "unknown role": {"messages": [{"role": "wizard", "content": "Hm"}]},
        "documents": {"messages": [user("What?")], "documents": [{"title": "T", "text": "Some text", "doc_id": 1}]},
    }
    return {name: {**base, **variables} for name, variables in sets.items()}
