"""A server that gives requests to others: real processes with a real model, and what happens when one vanishes."""
import contextlib
import os
import signal
import threading
import time

import openai
import pytest

import program

QUESTION = [{"role": "user", "content": "Name three colours."}]
KEY = {"EDGEWISE_API_KEYS": "front-key front=true"}
FRONT = {"EDGEWISE_NODE_KEY": "front-key"}


def connect(server, key="none"):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=120)


def node_metric(server, name, node=None):
    return sum(value for key, value in server.metrics().items()
               if key.startswith(f"edgewise_node_{name}{{") and (node is None or node.url in key))


def wait_until_up(front, count):
    program.wait_until(lambda: node_metric(front, "up") == count, 20, f"{count} nodes are up")


@contextlib.contextmanager
def fleet(nodes, *options, node_options=(), env=None):
    """A front and its nodes; nodes ask for a key that only the front has."""
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(program.serving(program.MODEL, "--context", "4096", *node_options, env=KEY)) for _ in range(nodes)]
        front = stack.enter_context(program.serving(program.MODEL, "--context", "4096", "--parallel", "1", "-v",
                                                    *(word for other in others for word in ("--node", other.url)), *options,
                                                    env=FRONT | (env or {})))
        wait_until_up(front, nodes)
        yield front, others


@pytest.fixture(scope="module")
def pair():
    with fleet(1) as (front, (node,)):
        yield front, node


def ask(client, prompt="Once upon a time", tokens=40, **more):
    reply = client.completions.create(model=program.MODEL, prompt=prompt, max_tokens=tokens, seed=5, temperature=0.9,
                                      extra_body={"ignore_eos": True, **more})
    return reply.choices[0].text


def test_answers_are_the_same_wherever_they_come_from(pair):
    front, node = pair
    with connect(front) as client:
        alone = ask(client)
        before = node_metric(front, "forwarded_total")
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(ask(client))) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [alone] * 6
        assert node_metric(front, "forwarded_total") > before  # the front itself answers one at a time
        assert front.metrics()["edgewise_placement_here_total"] > 0


def test_streams_tools_and_log_probabilities_come_through(pair):
    front, _ = pair
    busy = threading.Event()
    with connect(front) as client:
        def keep_busy():
            with client.completions.create(model=program.MODEL, prompt="Once", max_tokens=3000, stream=True, extra_body={"ignore_eos": True}) as stream:
                for _ in stream:
                    if busy.is_set():
                        return

        thread = threading.Thread(target=keep_busy)
        thread.start()
        try:
            program.wait_until(lambda: front.metrics()["edgewise_sequences_running"] == 1 or node_metric(front, "running") == 1, 20, "busy")
            for _ in range(3):
                chunks = list(client.chat.completions.create(model=program.MODEL, messages=QUESTION, max_tokens=8, stream=True, logprobs=True,
                                                             top_logprobs=2, stream_options={"include_usage": True}))
                assert chunks[-1].usage.completion_tokens <= 8
                assert any(chunk.choices and chunk.choices[0].logprobs for chunk in chunks)
            with pytest.raises(openai.BadRequestError) as wrong:
                client.chat.completions.create(model=program.MODEL, messages=QUESTION, response_format={"type": "nonsense"})
            assert "response_format" in str(wrong.value)
        finally:
            busy.set()
            thread.join()


def test_a_conversation_stays_where_its_beginning_is_cached():
    with fleet(1) as (front, _), connect(front) as client:
        prompts = [f"Story {number}: " + "once upon a time there was a king who had a horse. " * 60 for number in range(6)]
        cached = []
        for turn in range(3):
            for number, prompt in enumerate(prompts):
                reply = client.completions.create(model=program.MODEL, prompt=prompt, max_tokens=4, temperature=0, extra_body={"ignore_eos": True})
                prompts[number] += reply.choices[0].text
                cached.append((turn, reply.usage.prompt_tokens_details.cached_tokens / reply.usage.prompt_tokens))
        assert all(share > 0.8 for turn, share in cached if turn > 0), cached


def test_a_client_that_goes_away_frees_the_node(pair):
    front, node = pair
    with connect(front) as client:
        streams = [client.completions.create(model=program.MODEL, prompt="Once", max_tokens=3000, stream=True, extra_body={"ignore_eos": True})
                   for _ in range(4)]
        for stream in streams:
            next(iter(stream))
        program.wait_until(lambda: node_metric(front, "running") >= 1, 20, "the node answers")
        for stream in streams:
            stream.close()
        program.wait_until(lambda: node_metric(front, "running") == 0, 20, "the node is free")
        program.wait_until(lambda: front.metrics()["edgewise_sequences_running"] == 0, 20, "the front is free")


def test_deadlines_hold_across_servers(pair):
    front, _ = pair
    with connect(front) as client:
        with pytest.raises(openai.InternalServerError) as too_soon:
            client.completions.create(model=program.MODEL, prompt="word " * 1500, max_tokens=2000, extra_body={"deadline_ms": 300, "ignore_eos": True})
        assert too_soon.value.code in ("deadline_unreachable", "deadline_exceeded")
        outcomes = []

        def hurry():
            begun = time.monotonic()
            try:
                ask(client, tokens=100, deadline_ms=20000)
                outcomes.append((time.monotonic() - begun < 20, True))
            except openai.InternalServerError as error:
                outcomes.append((error.code in ("deadline_unreachable", "deadline_exceeded"), False))

        threads = [threading.Thread(target=hurry) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [fine for fine, _ in outcomes] == [True] * 8
        assert any(answered for _, answered in outcomes)


def test_a_killed_node_is_done_without():
    with fleet(2) as (front, nodes), connect(front) as client:
        alone = ask(client)
        stream = client.completions.create(model=program.MODEL, prompt="Once", max_tokens=600, stream=True, extra_body={"ignore_eos": True})
        others = [client.completions.create(model=program.MODEL, prompt="Once", max_tokens=600, stream=True, extra_body={"ignore_eos": True})
                  for _ in range(5)]
        for one in (stream, *others):
            next(iter(one))
        program.wait_until(lambda: node_metric(front, "running") >= 1, 20, "a node answers")
        nodes.sort(key=lambda node: -node_metric(front, "running", node))
        nodes[0].process.kill()
        nodes[0].process.wait()
        errors = 0
        for one in (stream, *others):
            try:
                for _ in zip(range(3000), one):
                    pass
            except openai.APIError as error:
                assert "lost" in str(error)
                errors += 1
            one.close()
        assert errors >= 1
        program.wait_until(lambda: node_metric(front, "lost_total") == errors, 20, "counted")
        wait_until_up(front, 1)
        assert [ask(client) for _ in range(4)] == [alone] * 4
        assert any(nodes[0].url in line for line in front.output)


def test_a_frozen_node_is_given_up():
    """As when its power is cut: nothing comes any more, but no connection ends."""
    with fleet(1) as (front, (node,)), connect(front) as client:
        os.kill(node.process.pid, signal.SIGSTOP)
        try:
            begun = time.monotonic()
            answers = []
            threads = [threading.Thread(target=lambda: answers.append(ask(client, tokens=200))) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(answers) == 8 and len(set(answers)) == 1
            assert time.monotonic() - begun < 100
            assert node_metric(front, "returned_total") >= 1
            program.wait_until(lambda: node_metric(front, "up") == 0, 20, "the node is given up")
        finally:
            os.kill(node.process.pid, signal.SIGCONT)
        wait_until_up(front, 1)


def test_a_node_that_begins_later_is_found():
    port = program.free_port()
    with program.serving(program.MODEL, "--context", "2048", "--node", f"http://127.0.0.1:{port}", env=FRONT) as front, connect(front) as client:
        assert ask(client)
        assert node_metric(front, "up") == 0
        with program.serving(program.MODEL, "--context", "2048", "--port", port, env=KEY):
            wait_until_up(front, 1)
        program.wait_until(lambda: node_metric(front, "up") == 0, 20, "it is gone")
        assert ask(client)


def test_a_node_without_the_setting_gets_no_clients_keys():
    with program.serving(program.MODEL, "--context", "2048", env={"EDGEWISE_API_KEYS": "front-key"}) as node:
        with program.serving(program.MODEL, "--context", "2048", "--node", node.url, env=FRONT | {"EDGEWISE_API_KEYS": "one,two"}) as front:
            program.wait_until(lambda: any("front=true" in line for line in front.output), 20, "says why")
            with connect(front, "one") as client:
                assert ask(client)
            assert "/v1/completions" not in node.request("GET", "/metrics", headers={"Authorization": "Bearer front-key"}).text


@pytest.mark.parametrize("options, complaint", [
    (["--node", "nonsense"], "nonsense"),
    (["--node", "http://127.0.0.1:1/v1"], "without a path"),
    (["--node", "http://127.0.0.1:1", "--node", "http://127.0.0.1:1/"], "twice"),
    (["--node", "http://127.0.0.1:1", "--downlink-kbps", "100"], "--downlink-kbps"),
    (["--node-key-file", "x"], "--node"),
    (["--node", "http://127.0.0.1:1", "--node-key-file", "/nowhere"], "/nowhere"),
    (["--node", "http://127.0.0.1:1", "--node-key-file", "/dev/null"], "no key"),
    (["--node", "http://127.0.0.1:1", "--node-key-file", "/"], "folder"),
    (["--node", "http://127.0.0.1:1", "--node-key-file", str(program.BINARY)], "key"),
    (["--node", "http://127.0.0.1:1", "--node-ca", "/nowhere"], "https"),
    (["--node", "https://127.0.0.1:1", "--node-ca", "/nowhere"], "/nowhere"),
])
def test_wrong_options_are_refused(options, complaint):
    done = program.run("serve", program.MODEL, "--port", 0, *options)
    assert done.returncode > 0 and complaint in done.stderr, done.stderr
