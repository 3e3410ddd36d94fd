"""Answers that must match something: JSON, schemas, grammars, tool calls."""
import concurrent.futures
import json
import re
import time

import pydantic
import pytest

import program

PERSON = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
          "required": ["name", "age"], "additionalProperties": False}
ASK = [{"role": "user", "content": "Invent a person: name and age."}]
WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "Weather of a city",
                                            "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 30}},
                                                           "required": ["city"], "additionalProperties": False}}}


def create(client, **parameters):
    return client.chat.completions.create(**({"model": program.MODEL, "messages": ASK, "max_tokens": 200, "temperature": 0} | parameters))


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_json_schema(client, temperature):
    form = {"type": "json_schema", "json_schema": {"name": "person", "strict": True, "schema": PERSON}}
    for seed in range(3):
        person = json.loads(create(client, response_format=form, temperature=temperature, seed=seed).choices[0].message.content)
        assert set(person) == {"name", "age"} and isinstance(person["name"], str) and 0 <= person["age"] <= 150


def test_json_schema_streams(client):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    chunks = create(client, response_format=form, stream=True)
    assert set(json.loads("".join(c.choices[0].delta.content or "" for c in chunks))) == {"name", "age"}


def test_parse_of_the_official_client(client):
    class Person(pydantic.BaseModel):
        name: str
        age: int

    reply = client.chat.completions.parse(model=program.MODEL, messages=ASK, response_format=Person, temperature=0, max_tokens=200)
    assert isinstance(reply.choices[0].message.parsed, Person)


def test_json_object(client):
    reply = create(client, response_format={"type": "json_object"}, max_tokens=300,
                   messages=[{"role": "user", "content": 'Answer with the JSON object {"ok": true} and nothing else.'}])
    text = reply.choices[0].message.content
    assert text.lstrip().startswith("{")
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


def test_text_format_is_no_constraint(client):
    assert create(client, response_format={"type": "text"}, max_tokens=4).choices


@pytest.mark.parametrize("field, grammar, pattern", [
    ("guided_regex", "[0-9]{3}-[a-f]{2}", r"\d{3}-[a-f]{2}"), ("guided_choice", ["left", "right"], "left|right"),
    ("guided_grammar", 'start: ("ab" | "cd")+ "."\n', r"(ab|cd)+\."), ("grammar", 'root ::= "x" [0-9] [0-9]? "y"', r"x\d{1,2}y")])
def test_grammars(client, field, grammar, pattern):
    choices = [create(client, temperature=1.2, seed=seed, max_tokens=40, extra_body={field: grammar}).choices[0] for seed in range(3)]
    complete = [choice.message.content for choice in choices if choice.finish_reason == "stop"]
    assert complete and all(re.fullmatch(pattern, text) for text in complete)


def test_schema_that_cannot_be_compiled(server):
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "no-such-type"}}}
    reply = server.chat(ASK, response_format=bad)
    assert reply.status == 400 and reply.json["error"]["message"]


def test_required_tool_call(client):
    reply = create(client, messages=[{"role": "user", "content": "What is the weather in Paris?"}], tools=[WEATHER], tool_choice="required",
                   parallel_tool_calls=False)
    calls = reply.choices[0].message.tool_calls
    assert len(calls) == 1 and calls[0].function.name == "get_weather" and calls[0].id
    assert set(json.loads(calls[0].function.arguments)) == {"city"}
    assert reply.choices[0].finish_reason == "tool_calls"


def test_named_tool_call_streams(client):
    choice = {"type": "function", "function": {"name": "get_weather"}}
    chunks = create(client, messages=[{"role": "user", "content": "Paris?"}], tools=[WEATHER], tool_choice=choice, stream=True,
                    parallel_tool_calls=False)
    name = arguments = ""
    for chunk in chunks:
        for delta in chunk.choices[0].delta.tool_calls or []:
            name += delta.function.name or ""
            arguments += delta.function.arguments or ""
    assert name == "get_weather" and set(json.loads(arguments)) == {"city"}


def test_tool_results_go_back_in(client):
    messages = [{"role": "user", "content": "What is the weather in Paris?"},
                {"role": "assistant", "content": None, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "18 degrees, sunny"}]
    assert create(client, messages=messages, max_tokens=16).choices[0].message.content


def test_no_tools_when_told(client):
    reply = create(client, tools=[WEATHER], tool_choice="none", max_tokens=16)
    assert not reply.choices[0].message.tool_calls and reply.choices[0].message.content


@pytest.mark.parametrize("tools, choice, word", [
    ([{"type": "web_search"}], "auto", "tools"), ([WEATHER], {"type": "function", "function": {"name": "other"}}, "other"),
    ([], "required", "tool")])
def test_tools_that_make_no_sense(server, tools, choice, word):
    reply = server.chat(ASK, tools=tools, tool_choice=choice, max_tokens=4)
    assert reply.status == 400 and re.search(word, reply.json["error"]["message"])


def slow_schema(number):
    """Patterns that are compared in pairs, which takes far longer than it may."""
    return {"type": "json_schema", "json_schema": {"name": "slow", "schema": {"patternProperties": {f"^x{number}.*{i:03}$": {} for i in range(800)}}}}


def test_slow_schemas_are_refused_and_hold_up_nobody_for_long():
    with program.serving(program.MODEL, "--context", "2048") as server:
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            asked = [pool.submit(server.chat, ASK, response_format=slow_schema(i), max_tokens=4) for i in range(2)]
            time.sleep(0.3)
            started = time.monotonic()
            assert server.chat(ASK, max_tokens=2).status == 200
            assert time.monotonic() - started < 3.5  # both handlers had a schema: one gave up after a second
            replies = [future.result() for future in asked]
        assert {reply.status for reply in replies} <= {400, 503} and any(reply.status == 503 for reply in replies), replies
        for reply in replies:
            assert reply.status == 400 or int({k.lower(): v for k, v in reply.headers.items()}["retry-after"]) >= 1
        # Refused at once the second time, and what is not slow is answered.
        number = next((i for i, reply in enumerate(replies) if reply.status == 400), None)
        if number is not None:  # else the machine was too busy to blame the schema
            started = time.monotonic()
            assert server.chat(ASK, response_format=slow_schema(number), max_tokens=4).status == 400 and time.monotonic() - started < 1
        form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
        assert server.chat(ASK, response_format=form, max_tokens=60, temperature=0).status == 200
