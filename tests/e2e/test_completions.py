"""Text completions through the official Python client."""
import pytest

import program

PROMPT = "The three primary colours are red,"


def create(client, **parameters):
    return client.completions.create(**({"model": program.MODEL, "prompt": PROMPT, "max_tokens": 12, "temperature": 0} | parameters))


def token_ids(text):
    tokens = program.run_json("tokenize", program.MODEL, text)
    tokens = tokens["tokens"] if isinstance(tokens, dict) else tokens
    return [t if isinstance(t, int) else t["id"] for t in tokens]


def test_continues_text(client):
    reply = create(client)
    assert reply.object == "text_completion"
    assert "blue" in reply.choices[0].text or "yellow" in reply.choices[0].text
    assert reply.usage.completion_tokens == 12 and reply.choices[0].finish_reason == "length"


def test_token_ids_are_the_same_prompt(client):
    by_text, by_ids = create(client), create(client, prompt=token_ids(PROMPT))
    assert by_text.choices[0].text == by_ids.choices[0].text
    assert by_text.usage.prompt_tokens == by_ids.usage.prompt_tokens


def test_several_prompts(client):
    reply = create(client, prompt=[PROMPT, "Once upon a time"])
    assert [c.index for c in reply.choices] == [0, 1]
    assert reply.choices[0].text == create(client).choices[0].text


def test_several_choices_of_several_prompts(client):
    reply = create(client, prompt=[PROMPT, "Once upon a time"], n=2, temperature=1, seed=5)
    assert [c.index for c in reply.choices] == [0, 1, 2, 3]


def test_stream_folds_to_the_plain_reply(client):
    assert "".join(c.choices[0].text for c in create(client, stream=True) if c.choices) == create(client).choices[0].text


def test_echo(client):
    assert create(client, echo=True).choices[0].text == PROMPT + create(client).choices[0].text


def test_logprobs(client):
    logprobs = create(client, logprobs=3).choices[0].logprobs
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == 12
    for token, value, top in zip(logprobs.tokens, logprobs.token_logprobs, logprobs.top_logprobs):
        assert value <= 0 and 3 <= len(top) <= 4 and max(top.values()) == pytest.approx(top[token])
    assert logprobs.text_offset == sorted(logprobs.text_offset)


def test_twenty_logprobs_and_no_more(client, server):
    assert len(create(client, logprobs=20, max_tokens=1).choices[0].logprobs.top_logprobs[0]) >= 20
    reply = server.request("POST", "/v1/completions", {"model": program.MODEL, "prompt": "a", "logprobs": 21})
    assert reply.status == 400 and "logprobs" in reply.json["error"]["message"]


def test_stop_string(client):
    reply = create(client, stop=[" and"], max_tokens=60)
    assert " and" not in reply.choices[0].text and reply.choices[0].finish_reason == "stop"


def test_suffix_and_best_of_are_honoured_or_refused(server):
    for field, value in (("suffix", "the end"), ("best_of", 3)):
        reply = server.request("POST", "/v1/completions", {"model": program.MODEL, "prompt": "a", "max_tokens": 2, field: value})
        assert reply.status == 400 and field in reply.json["error"]["message"]
