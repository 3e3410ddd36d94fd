"""Chat completions through the official Python client."""
import json

import openai
import pytest

import program

ASK = [{"role": "user", "content": "What is the capital of France? Answer in one sentence."}]


def create(client, **parameters):
    return client.chat.completions.create(**({"model": program.MODEL, "messages": ASK, "max_tokens": 24, "temperature": 0} | parameters))


def streamed(client, **parameters):
    return list(create(client, stream=True, **parameters))


def text_of(chunks):
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)


def test_answers_sensibly(client):
    reply = create(client)
    assert "Paris" in reply.choices[0].message.content
    assert reply.object == "chat.completion" and reply.id.startswith("chatcmpl-")
    assert reply.choices[0].message.role == "assistant"
    assert reply.choices[0].finish_reason in ("stop", "length")


def test_counts_tokens(client):
    usage = create(client, max_tokens=5).usage
    assert usage.completion_tokens == 5
    assert usage.total_tokens == usage.prompt_tokens + 5
    assert usage.prompt_tokens > 10


def test_stream_folds_to_the_plain_reply(client):
    plain = create(client)
    chunks = streamed(client)
    assert text_of(chunks) == plain.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == plain.choices[0].finish_reason
    assert {c.id for c in chunks} == {chunks[0].id}
    assert all(c.usage is None for c in chunks)


def test_stream_ends_with_usage_when_asked(client):
    chunks = streamed(client, stream_options={"include_usage": True})
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0
    assert all(c.usage is None for c in chunks[:-1])


def test_stream_is_server_sent_events(server):
    reply = server.chat(ASK, stream=True, max_tokens=3)
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    events = reply.text.split("\n\n")
    assert events[-1] == "" and events[-2] == "data: [DONE]"
    assert all(event.startswith("data: ") for event in events[:-1])


def test_history_is_seen(client):
    messages = [*ASK, {"role": "assistant", "content": "The capital of France is Paris."}, {"role": "user", "content": "Repeat your last answer."}]
    assert "Paris" in create(client, messages=messages).choices[0].message.content


def test_content_may_come_in_text_parts(client):
    parts = [{"role": "user", "content": [{"type": "text", "text": ASK[0]["content"]}]}]
    assert create(client, messages=parts).choices[0].message.content == create(client).choices[0].message.content


def test_max_completion_tokens_is_the_newer_name(client):
    reply = create(client, max_tokens=openai.omit, max_completion_tokens=4)
    assert reply.usage.completion_tokens == 4 and reply.choices[0].finish_reason == "length"


def test_several_choices(client):
    reply = create(client, n=3, temperature=1, seed=7, max_tokens=12)
    assert [c.index for c in reply.choices] == [0, 1, 2]
    assert len({c.message.content for c in reply.choices}) > 1
    assert reply.usage.completion_tokens <= 36


def test_several_choices_stream(client):
    plain = create(client, n=2, temperature=1, seed=7, max_tokens=12)
    texts = ["", ""]
    for chunk in streamed(client, n=2, temperature=1, seed=7, max_tokens=12):
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == [c.message.content for c in plain.choices]


def test_seed_makes_it_repeatable(client):
    texts = [create(client, temperature=1.2, seed=seed).choices[0].message.content for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_stop_strings_end_the_answer_and_are_left_out(client):
    whole = create(client).choices[0].message.content
    cut = whole.index("Paris") + 2  # in the middle of a token
    stopped = create(client, stop=[whole[cut:cut + 3], "never there"])
    assert stopped.choices[0].message.content == whole[:cut]
    assert stopped.choices[0].finish_reason == "stop"
    assert text_of(streamed(client, stop=whole[cut:cut + 3])) == whole[:cut]


def test_logprobs(client):
    reply = create(client, logprobs=True, top_logprobs=5, max_tokens=8)
    content = reply.choices[0].logprobs.content
    assert len(content) == reply.usage.completion_tokens
    assert b"".join(bytes(t.bytes) for t in content).decode().startswith(reply.choices[0].message.content)
    for token in content:
        assert token.logprob <= 0 and len(token.top_logprobs) == 5
        assert token.top_logprobs[0].token == token.token  # greedy
        values = [t.logprob for t in token.top_logprobs]
        assert values == sorted(values, reverse=True)


def test_logprobs_stream_like_the_plain_reply(client):
    plain = create(client, logprobs=True, top_logprobs=2, max_tokens=8).choices[0].logprobs.content
    chunks = streamed(client, logprobs=True, top_logprobs=2, max_tokens=8)
    tokens = [t for c in chunks if c.choices and c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    assert [(t.token, t.logprob) for t in tokens] == [(t.token, t.logprob) for t in plain]


def test_logit_bias_forbids_and_forces(client):
    token = program.run_json("tokenize", program.MODEL, "Paris")
    ids = token if isinstance(token, list) else token["tokens"]
    forced = create(client, logit_bias={str(ids[0] if isinstance(ids[0], int) else ids[0]["id"]): 100}, max_tokens=3)
    assert forced.choices[0].message.content.startswith("Par")


@pytest.mark.parametrize("parameters", [
    {"frequency_penalty": 1.5}, {"presence_penalty": 1.5}, {"top_p": 0.3, "temperature": 1},
    {"extra_body": {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.2}, "temperature": 1}])
def test_sampling_parameters_are_taken(client, parameters):
    assert create(client, seed=3, **parameters).choices[0].message.content


def test_template_arguments_reach_the_template(tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text("{{ text }}")
    with program.serving(program.MODEL, "--chat-template", template) as server:
        prompt = "One, two, three,"
        chat = server.chat(ASK, max_tokens=6, temperature=0, chat_template_kwargs={"text": prompt}).json
        plain = server.request("POST", "/v1/completions", {"model": program.MODEL, "prompt": prompt, "max_tokens": 6, "temperature": 0}).json
        assert chat["choices"][0]["message"]["content"] == plain["choices"][0]["text"] and "four" in plain["choices"][0]["text"]
        assert chat["usage"]["prompt_tokens"] == plain["usage"]["prompt_tokens"]


def test_user_and_metadata_are_accepted(client):
    assert create(client, user="someone", metadata={"a": "b"}, store=False).choices


def test_raw_response_is_plain_json(server):
    reply = server.chat(ASK, max_tokens=2, temperature=0)
    assert reply.status == 200 and reply.headers["Content-Type"].startswith("application/json")
    assert json.loads(reply.text)["created"] > 1_700_000_000
