"""Many clients at once: the official one, with answers that end in every way, and a public load generator."""
import asyncio
import collections
import json
import re
import subprocess

import openai

import program

STREAMS = 32


async def stream(client, i):
    """How it ended: "complete", "cancelled", or the code of the error."""
    is_cancelled, has_deadline = i % 4 == 1, i % 4 == 3
    tokens = 400 if is_cancelled else 8 + i % 16 * 4
    extra = {"ignore_eos": True} | ({"deadline_ms": 100 if i % 8 == 3 else 60_000} if has_deadline else {})
    asked = "Tell me about the sea and the wind. " * (1 + i % 5 * 6) + str(i)
    try:
        chunks = await client.chat.completions.create(model=program.MODEL, stream=True, max_tokens=tokens, stream_options={"include_usage": True},
                                                      messages=[{"role": "user", "content": asked}], extra_body=extra)
        seen, usage, finish = 0, None, None
        async with chunks:
            async for chunk in chunks:
                seen += 1
                usage = chunk.usage or usage
                finish = chunk.choices[0].finish_reason or finish if chunk.choices else finish
                if is_cancelled and seen == 5:
                    return "cancelled"
    except openai.APIError as error:
        assert has_deadline, error
        return error.code
    assert finish == "length" and usage.completion_tokens == tokens
    return "complete"


async def all_streams(url):
    async with openai.AsyncOpenAI(base_url=url + "/v1", api_key="none", max_retries=0, timeout=120) as client:
        return await asyncio.gather(*(stream(client, i) for i in range(STREAMS)))


def nothing_is_left(server):
    metrics = server.metrics()
    return (metrics["edgewise_sequences_running"] == 0 and metrics["edgewise_sequences_waiting"] == 0
            and metrics["edgewise_kv_blocks_used"] == metrics["edgewise_kv_blocks_cached"])


def test_streams_of_the_official_client_end_as_they_should_and_leave_nothing():
    with program.serving(program.MODEL, "--context", "2048") as server:
        server.chat([{"role": "user", "content": "Hi"}], max_tokens=30, ignore_eos=True)  # so that the server knows what a token costs
        endings = asyncio.run(all_streams(server.url))
        program.wait_until(lambda: nothing_is_left(server), 10, "no sequence, and only blocks that the prefix cache holds")
        assert server.chat([{"role": "user", "content": "Hi"}], max_tokens=3).status == 200
    by_kind = [collections.Counter(endings[kind::4]) for kind in range(4)]
    assert by_kind[0] == by_kind[2] == {"complete": 8}, by_kind
    assert by_kind[1] == {"cancelled": 8}, by_kind
    assert set(by_kind[3]) <= {"complete", "deadline_exceeded", "deadline_unreachable"}, by_kind
    assert by_kind[3]["complete"] >= 4 and sum(by_kind[3].values()) - by_kind[3]["complete"] > 0, by_kind


def test_a_public_load_generator_sees_no_failure(server, tmp_path):
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"model": program.MODEL, "prompt": "The sea is", "max_tokens": 4, "ignore_eos": True, "temperature": 0}))
    requests = 320
    done = subprocess.run(["ab", "-q", "-k", "-l", "-c", "32", "-n", str(requests), "-p", body, "-T", "application/json", server.url + "/v1/completions"],
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    counts = {name: int(count) for name, count in re.findall(r"^([A-Za-z0-9 -]+):\s+(\d+)$", done.stdout, re.MULTILINE)}
    assert counts["Complete requests"] == requests and counts["Failed requests"] == 0, done.stdout
    assert counts["Keep-Alive requests"] == requests and "Non-2xx responses" not in counts, done.stdout
    program.wait_until(lambda: nothing_is_left(server), 10, "no sequence, and only blocks that the prefix cache holds")
