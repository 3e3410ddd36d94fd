"""Deadlines, priorities and limits of keys, through the official client and the real server."""
import collections
import concurrent.futures
import time

import openai
import pytest

import program

ASK = [{"role": "user", "content": "Count to one hundred."}]


def ask(client, **kwargs):
    return client.chat.completions.create(model=program.MODEL, **{"messages": ASK, "max_tokens": 5, **kwargs})


def test_the_official_client_passes_service_levels_as_body_and_headers(client):
    assert ask(client, extra_body={"deadline_ms": 60_000, "first_token_deadline_ms": 30_000, "priority": 3, "min_accuracy": 0}).usage.completion_tokens <= 5
    longest = {"X-Edgewise-Max-Tokens": "7", "X-Edgewise-Ignore-Eos": "true"}
    assert ask(client, extra_headers=longest, max_tokens=openai.omit).usage.completion_tokens == 7
    headers = {"X-Edgewise-Deadline-Ms": "60000", "X-Edgewise-Ignore-Eos": "true", "X-Edgewise-Priority": "-2"}
    assert ask(client, extra_headers=headers, max_tokens=30).usage.completion_tokens == 30
    assert ask(client, extra_body={"min_tokens": 20}, max_tokens=25).usage.completion_tokens >= 20


@pytest.mark.parametrize("body, header, param", [
    ({"deadline_ms": 0}, {}, "deadline_ms"), ({"priority": 11}, {}, "priority"), ({"min_accuracy": 2}, {}, "min_accuracy"),
    ({}, {"X-Edgewise-Deadline-Ms": "soon"}, "x-edgewise-deadline-ms"), ({}, {"X-Edgewise-Colour": "red"}, "x-edgewise-colour"),
    ({"deadline_ms": 10, "first_token_deadline_ms": 20}, {}, "first_token_deadline_ms"), ({"min_accuracy": 0.5}, {}, "min_accuracy")])
def test_what_makes_no_sense_is_refused(client, body, header, param):
    with pytest.raises(openai.BadRequestError) as refused:
        ask(client, extra_body=body, extra_headers=header)
    assert refused.value.param.lower() == param


@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_in_time_is_refused_at_once(server, client, stream):
    ask(client, extra_body={"ignore_eos": True}, max_tokens=50)  # so that the server knows what a token costs
    before = server.metrics()['edgewise_refused_total{reason="deadline_unreachable"}']
    started = time.monotonic()
    with pytest.raises(openai.InternalServerError) as refused:
        ask(client, max_tokens=3000, stream=stream, extra_body={"deadline_ms": 1000, "ignore_eos": True})
    assert time.monotonic() - started < 0.5
    assert refused.value.status_code == 503 and refused.value.code == "deadline_unreachable"
    assert refused.value.response.headers["x-should-retry"] == "false" and "retry-after" not in refused.value.response.headers
    assert server.metrics()['edgewise_refused_total{reason="deadline_unreachable"}'] == before + 1


def test_an_answer_without_a_known_length_ends_when_its_deadline_passes(server, client):
    before = server.metrics()['edgewise_deadlines_missed_total{when="running"}']
    never_ends = {str(token): -100 for token in (0, 2)}  # <|endoftext|> and <|im_end|>: however fast the machine, the deadline comes first
    stream = ask(client, max_tokens=3000, stream=True, temperature=0, extra_body={"deadline_ms": 300}, logit_bias=never_ends)
    with pytest.raises(openai.APIError) as late:
        for _ in stream:
            pass
    assert "deadline" in str(late.value).lower()
    program.wait_until(lambda: server.running() == 0, 2, "its work ends")
    assert server.metrics()['edgewise_deadlines_missed_total{when="running"}'] <= before + 1


def test_first_come_first_served_can_be_chosen():
    with program.serving(program.MODEL, "--scheduler", "fcfs") as server:
        assert server.chat(ASK, max_tokens=3, deadline_ms=60_000).status == 200
        late = server.chat(ASK, max_tokens=2000, deadline_ms=300, ignore_eos=True)
        assert late.status == 504 and late.json["error"]["code"] == "deadline_exceeded"


def test_a_log_line_follows_a_request_by_its_id():
    with program.serving(program.MODEL, "--verbose") as server:
        reply = server.chat(ASK, max_tokens=3)
        name = {k.lower(): v for k, v in reply.headers.items()}["x-request-id"]
        program.wait_until(lambda: any(name in line and "answer 3" in line for line in server.output), 5, "a line with the id")


def test_under_overload_there_are_only_answers_and_honest_refusals(server):
    def one(i):
        reply = server.chat([{"role": "user", "content": f"{i}. " + "Tell me about the sea and the wind. " * (i % 5 * 8)}], max_tokens=20 + i % 50,
                            ignore_eos=True, deadline_ms=100 + 300 * (i % 20), priority=i % 3)
        if reply.status == 503:
            time.sleep(0.2)  # a refusal takes no time: else all are offered at once
        return reply.status

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        statuses = collections.Counter(pool.map(one, range(160)))
    assert set(statuses) <= {200, 503, 504}, statuses
    assert statuses[200] > 10 and statuses[503] > 0, statuses


def test_min_accuracy_is_held_against_what_was_measured():
    with program.serving(program.MODEL, "--accuracy", "0.9") as server:
        assert server.chat(ASK, max_tokens=2, min_accuracy=0.85).status == 200
        refused = server.chat(ASK, max_tokens=2, min_accuracy=0.95)
        assert refused.status == 400 and refused.json["error"]["code"] == "accuracy_unavailable" and "0.9" in refused.json["error"]["message"]


def test_keys_have_defaults_and_limits(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# comment\nplain\nstubborn ignore_eos=true min_tokens=7\nlimited requests_per_minute=2 concurrent=1\n")
    with program.serving(program.MODEL, "--api-key-file", keys) as server:
        def client(key):
            return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=60)

        assert ask(client("stubborn"), max_tokens=40).usage.completion_tokens == 40
        assert ask(client("stubborn"), max_tokens=3).usage.completion_tokens == 3  # the key's min_tokens gives way
        for _ in range(2):
            ask(client("limited"))
        with pytest.raises(openai.RateLimitError) as limited:
            ask(client("limited"))
        assert limited.value.code == "requests_per_minute_exceeded" and int(limited.value.response.headers["retry-after"]) >= 1
        ask(client("plain"))


def test_keys_never_share_prefixes_and_choices_do(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("first\nsecond\n")
    messages = [{"role": "user", "content": "Tell me about the sea. " * 40}]
    with program.serving(program.MODEL, "--api-key-file", keys, "--cache-mib", "256") as server:
        def usage(key, **kwargs):
            with openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=60) as client:
                return ask(client, messages=messages, **kwargs).usage

        assert usage("first").prompt_tokens_details.cached_tokens == 0
        assert usage("first").prompt_tokens_details.cached_tokens > 200
        assert usage("second").prompt_tokens_details.cached_tokens == 0
        before = server.request("GET", "/metrics", headers={"Authorization": "Bearer first"}).text
        assert usage("second", n=4, temperature=1).completion_tokens <= 20
        after = server.request("GET", "/metrics", headers={"Authorization": "Bearer first"}).text

        def hits(text):
            return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith("vllm:prefix_cache_hits_total"))

        assert hits(after) - hits(before) > 4 * 200


def test_a_wrong_key_file_is_an_error_at_the_start(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("a colour=red\n")
    done = program.run("serve", program.MODEL, "--port", 0, "--api-key-file", keys)
    assert done.returncode != 0 and "colour" in done.stderr
