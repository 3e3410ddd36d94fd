"""What a client can get wrong. Each gets the right status and a message in OpenAI's form; the engine stays untouched."""
import json
import time

import openai
import pytest

import program

ASK = [{"role": "user", "content": "Hi"}]


def refused(reply, status, *words):
    assert reply.status == status, reply.text
    error = reply.json["error"]
    assert set(error) >= {"message", "type", "param", "code"}
    for word in words:
        assert word in error["message"], error
    return error


@pytest.fixture(autouse=True)
def no_request_reached_the_engine(server):
    before = server.sequences_so_far()
    yield
    assert server.sequences_so_far() == before


@pytest.fixture(autouse=True)
def server_still_answers(server):
    yield
    assert server.request("GET", "/health").status == 200


def test_unknown_model(server, client):
    error = refused(server.request("POST", "/v1/chat/completions", {"model": "gpt-9", "messages": ASK}), 404, "gpt-9")
    assert error["code"] == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-9", messages=ASK)


def test_unknown_path_and_method(server):
    refused(server.request("GET", "/v1/nothing"), 404, "/v1/nothing")
    refused(server.request("GET", "/v1/chat/completions"), 405)
    refused(server.request("POST", "/v1/audio/transcriptions", {}), 404)


@pytest.mark.parametrize("messages, word", [
    ([], "messages"), (None, "messages"), ("hello", "messages"), ([1], "messages"), ([{}], "role"), ([{"role": "user"}], "content"),
    ([{"role": "wizard", "content": "x"}], "wizard"), ([{"role": "user", "content": 5}], "content"), ([{"role": 5, "content": "x"}], "role")])
def test_messages_that_are_none(server, messages, word):
    refused(server.chat(messages), 400, word)


def test_image_to_a_text_model(server):
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}]
    refused(server.chat([{"role": "user", "content": content}]), 400, "image")


def test_audio_and_files(server):
    for word, part in (("audio", {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}), ("file", {"type": "file", "file": {"file_id": "x"}})):
        refused(server.chat([{"role": "user", "content": [part]}]), 400, word)


@pytest.mark.parametrize("field, value", [
    ("temperature", "hot"), ("temperature", -1), ("temperature", 1e9), ("top_p", 2), ("top_p", [1]), ("max_tokens", 0), ("max_tokens", -5),
    ("max_tokens", 1.5), ("n", 0), ("n", "2"), ("n", 100_000), ("stop", 7), ("stop", ["a"] * 50), ("stop", [""]), ("stream", "yes"),
    ("logprobs", "yes"), ("top_logprobs", 21), ("top_logprobs", -1), ("seed", "x"), ("logit_bias", {"not-a-token": 1}), ("logit_bias", {"999999999": 1}),
    ("logit_bias", {"1": 1000}), ("logit_bias", []), ("presence_penalty", 3), ("frequency_penalty", -3), ("response_format", "json"),
    ("response_format", {"type": "yaml"}), ("tools", {}), ("tools", [1]), ("tool_choice", 5), ("stream_options", 1), ("model", 5), ("model", None)])
def test_wrong_values_name_their_field(server, field, value):
    extra = {"logprobs": True} if field == "top_logprobs" else {"stream": True} if field == "stream_options" else {}
    error = refused(server.request("POST", "/v1/chat/completions", {"model": program.MODEL, "messages": ASK, **extra, field: value}), 400, field)
    assert error["param"] is None or field in error["param"]


@pytest.mark.parametrize("field, value", [
    ("modalities", ["text", "audio"]), ("audio", {"voice": "x", "format": "wav"}), ("web_search_options", {}), ("prediction", {"type": "content", "content": "x"}),
    ("functions", [{"name": "f"}])])
def test_what_is_not_supported_is_said(server, field, value):
    refused(server.chat(ASK, max_tokens=2, **{field: value}), 400, field)


def test_a_field_nobody_knows_is_not_silently_ignored(server):
    refused(server.chat(ASK, max_tokens=2, temprature=0.1), 400, "temprature")


@pytest.mark.parametrize("body", ["", "{", "[]", "nul", '{"a":1}}', '{"model": "x", "messages": [', "\x00", b"\xff\xfe", '{"model": "\\ud800"}', "1e999"])
def test_broken_json(server, body):
    refused(server.request("POST", "/v1/chat/completions", body), 400)


@pytest.mark.parametrize("opening, closing", [("[", "]"), ('{"a":', "}")])
def test_json_nested_a_hundred_thousand_deep(server, opening, closing):
    refused(server.request("POST", "/v1/chat/completions", opening * 100_000 + "1" + closing * 100_000), 400, "deep")


def test_deep_values_inside_a_good_request(server):
    deep = "[" * 100_000 + "]" * 100_000
    body = json.dumps({"model": program.MODEL, "messages": ASK, "tools": None}).replace("null", deep)
    refused(server.request("POST", "/v1/chat/completions", body), 400)


def test_huge_body_is_refused_before_it_is_read(server):
    with server.connect() as socket:
        socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n{")
        assert b" 413 " in socket.recv(4096)


def test_huge_headers(server):
    with server.connect() as socket:
        socket.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000 + b"\r\n\r\n")
        assert socket.recv(4096).split(b" ")[1] in (b"400", b"431")


def test_a_body_of_unknown_coding_is_not_read_as_the_next_request(server):
    with server.connect() as socket:
        socket.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\nGET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b"".join(iter(lambda: socket.recv(4096), b""))
        assert received.startswith(b"HTTP/1.1 501 ") and received.count(b"HTTP/1.1 ") == 1


def test_a_page_whose_name_was_pointed_here_is_refused(server):
    headers = {"Host": f"evil.example:{server.port}", "Origin": f"http://evil.example:{server.port}"}
    refused(server.request("POST", "/v1/chat/completions", {"model": program.MODEL, "messages": ASK}, headers=headers), 403)


def test_a_compressed_body(server):
    refused(server.request("POST", "/v1/chat/completions", b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), 415)


@pytest.mark.parametrize("text", ["a" * 15_000_000, " " * 15_000_000])
def test_a_hopelessly_long_prompt_is_refused_at_once(server, text):
    started = time.monotonic()
    refused(server.request("POST", "/v1/completions", {"model": program.MODEL, "prompt": text}), 400, "4096")
    refused(server.chat([{"role": "user", "content": text}]), 400, "4096")
    assert time.monotonic() - started < 5


def test_not_http(server):
    with server.connect() as socket:
        socket.sendall(b"\x16\x03\x01\x02\x00\x01\x00 hello\r\n\r\n")
        assert b" 400 " in socket.recv(4096)


def test_prompt_longer_than_the_context(server):
    error = refused(server.chat([{"role": "user", "content": "word " * 20_000}]), 400, "4096")
    assert error["code"] == "context_length_exceeded"


def test_completion_prompt_errors(server):
    for prompt, word in ((5, "prompt"), ([], "prompt"), ([-1], "token"), ([10**9], "token"), ([[1], "x"], "prompt"), ("word " * 20_000, "4096")):
        refused(server.request("POST", "/v1/completions", {"model": program.MODEL, "prompt": prompt, "max_tokens": 1}), 400, word)


def test_embeddings_of_a_text_model(server):
    refused(server.request("POST", "/v1/embeddings", {"model": program.MODEL, "input": "x"}), 400, "embedding")


def test_wrong_content_type(server):
    reply = server.request("POST", "/v1/chat/completions", "a=b", headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert reply.status in (400, 415) and reply.json["error"]["message"]
