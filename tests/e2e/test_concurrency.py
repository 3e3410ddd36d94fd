"""Several clients at once, slow ones, ones that go away, and the end of the server."""
import concurrent.futures
import json
import signal
import threading
import time

import pytest

import program

QUESTIONS = ["Name a fruit.", "Count from one to ten.", "What is 2 + 2?", "Write a short poem about rain.", "Who wrote Hamlet?",
             "Describe a cat in detail.", "Say hello in French.", "List three rivers of Europe and say where they begin."]


def answer(server, question, seed):
    reply = server.chat([{"role": "user", "content": question}], max_tokens=40, temperature=0.8, seed=seed, top_p=0.9)
    assert reply.status == 200, reply.text
    return reply.json["choices"][0]["message"]["content"]


def send_request(socket, body):
    data = json.dumps({"model": program.MODEL, **body}).encode()
    socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data)


LONG = {"messages": [{"role": "user", "content": "Write a very long story."}], "max_tokens": 3000, "stream": True, "temperature": 1, "seed": 1,
        "ignore_eos": True}


def running(server):
    return server.running()


def test_beside_others_the_text_is_the_same_as_alone(server):
    alone = [answer(server, q, i) for i, q in enumerate(QUESTIONS)]
    with concurrent.futures.ThreadPoolExecutor(len(QUESTIONS)) as pool:
        together = list(pool.map(lambda i: answer(server, QUESTIONS[i], i), range(len(QUESTIONS))))
    assert together == alone


def test_one_thread_gives_the_same_text_as_two():
    texts = []
    for threads in (1, 2):
        with program.serving(program.MODEL, "--threads", threads) as server:
            texts.append([answer(server, q, 3) for q in QUESTIONS[:4]])
    assert texts[0] == texts[1]


def test_cached_prefix_gives_the_same_text():
    messages = [{"role": "user", "content": "Tell me about the sea. " * 20}]
    with program.serving() as server:
        replies = [server.chat(messages, max_tokens=20, temperature=0).json for _ in range(2)]
    assert replies[0]["choices"] == replies[1]["choices"]
    assert replies[0]["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert replies[1]["usage"]["prompt_tokens_details"]["cached_tokens"] >= 64


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_goes_away_frees_its_work(server, stream):
    with server.connect() as socket:
        send_request(socket, LONG | {"stream": stream})
        program.wait_until(lambda: running(server) == 1, 10, "the request runs")
        if stream:
            assert socket.recv(4096).startswith(b"HTTP/1.1 200")
    program.wait_until(lambda: running(server) == 0, 2, "its work ends")


def test_a_client_that_does_not_read_stops_only_itself(server):
    with server.connect() as socket:
        send_request(socket, LONG)
        program.wait_until(lambda: running(server) == 1, 10, "the request runs")
        assert answer(server, "Name a fruit.", 1)


def test_a_client_that_sends_slowly_holds_nobody_up(server):
    with server.connect() as socket:
        socket.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        started = time.monotonic()
        assert answer(server, "Name a fruit.", 1)
        assert time.monotonic() - started < 30


def test_pipelined_and_kept_alive_connections(server):
    with server.connect() as socket:
        socket.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        received = b""
        while received.count(b"HTTP/1.1 200") < 3:
            received += socket.recv(4096)


def test_more_requests_than_run_at_once_wait():
    with program.serving() as server, concurrent.futures.ThreadPoolExecutor(48) as pool:
        texts = list(pool.map(lambda i: answer(server, QUESTIONS[i % 8], i % 8), range(48)))
    assert all(texts[i] == texts[i % 8] for i in range(48))


def test_sigterm_lets_running_answers_finish():
    with program.serving() as server:
        got = {}

        def ask():
            got["reply"] = server.chat([{"role": "user", "content": "Write about rivers."}], max_tokens=150, ignore_eos=True, temperature=0)

        thread = threading.Thread(target=ask)
        thread.start()
        program.wait_until(lambda: running(server) == 1, 10, "the request runs")
        server.process.send_signal(signal.SIGTERM)
        thread.join(60)
        assert got["reply"].status == 200 and got["reply"].json["usage"]["completion_tokens"] == 150
        assert server.process.wait(10) == 0


def test_sigterm_ends_an_idle_server_at_once():
    with program.serving() as server:
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 5
