"""`--downlink-kbps`: what the server sends, measured by its clients."""
import concurrent.futures
import json
import threading
import time

import pytest

import program

KBPS = 256
RATE = KBPS * 125.0  # bytes/s
BUCKET = 4_000  # bytes, and what a client may read at once


class Stream:
    """A streamed completion, read as it comes: text, bytes with their times, and the times of its events."""

    def __init__(self, server, prompt, **parameters):
        body = json.dumps({"model": program.MODEL, "prompt": prompt, "stream": True, "temperature": 0, "ignore_eos": True, **parameters})
        self.socket = server.connect()
        self.socket.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}".encode())
        self.arrivals = []  # (time, bytes)
        self.started = time.monotonic()

    def read(self):
        received = b""
        while piece := self.socket.recv(65536):
            self.arrivals.append((time.monotonic(), len(piece)))
            received += piece
        self.socket.close()
        head, _, chunked = received.partition(b"\r\n\r\n")
        self.status = int(head.split()[1])
        self.events = []
        if b"chunked" not in head:
            self.body = json.loads(chunked)
            return self
        body = b""
        while chunked:
            size, _, rest = chunked.partition(b"\r\n")
            body, chunked = body + rest[:int(size, 16)], rest[int(size, 16) + 2:]
        self.events = [event.removeprefix("data: ") for event in body.decode().split("\n\n") if event]
        self.chunks = [json.loads(event) for event in self.events if event != "[DONE]"]
        return self

    @property
    def text(self):
        return "".join(choice["text"] for chunk in self.chunks for choice in chunk.get("choices", []))

    @property
    def seconds(self):
        return self.arrivals[-1][0] - self.started


def read_all(streams):
    with concurrent.futures.ThreadPoolExecutor(len(streams)) as pool:
        return list(pool.map(Stream.read, streams))


@pytest.fixture(scope="module")
def linked():
    with program.serving(program.MODEL, "--context", "4096", "--downlink-kbps", KBPS) as running:
        yield running


def test_many_streams_keep_to_the_link_and_say_the_same(server, linked):
    prompts = [f"Number {i} is the beginning of a story about" for i in range(16)]
    expected = [stream.text for stream in read_all([Stream(server, prompt, max_tokens=80) for prompt in prompts])]
    before = linked.metrics()
    streams = read_all([Stream(linked, prompt, max_tokens=80) for prompt in prompts])
    assert [stream.text for stream in streams] == expected
    assert all(stream.events[-1] == "[DONE]" for stream in streams)

    arrivals = sorted(arrival for stream in streams for arrival in stream.arrivals)
    total = sum(count for _, count in arrivals)
    seconds = arrivals[-1][0] - arrivals[0][0]
    assert total <= RATE * seconds + BUCKET
    assert total >= 0.5 * RATE * seconds  # and it was the link that they waited for
    # Over every window, but for what a client on a busy machine reads late.
    least = sent = 0.0
    for when, count in arrivals:
        least = min(least, sent - RATE * (when - arrivals[0][0]))
        sent += count
        assert sent - RATE * (when - arrivals[0][0]) - least <= BUCKET + 0.3 * RATE
    after = linked.metrics()
    assert after["edgewise_link_merged_tokens_total"] > before.get("edgewise_link_merged_tokens_total", 0) + 300
    # 80 events of 200 bytes each would be 16 kB.
    assert max(sum(count for _, count in stream.arrivals) for stream in streams) < 16_000


def test_first_tokens_come_soon_though_the_link_is_full(linked):
    busy = [Stream(linked, f"Long story {i}:", max_tokens=600) for i in range(12)]
    reading = [threading.Thread(target=stream.read) for stream in busy]
    for thread in reading:
        thread.start()
    time.sleep(1.0)
    late = Stream(linked, "Once more:", max_tokens=5).read()
    first = late.arrivals[0][0] - late.started
    health = time.monotonic()
    assert linked.request("GET", "/health").json["downlink_kbps"] == KBPS
    assert time.monotonic() - health < 1.0
    for thread in reading:
        thread.join()
    assert first < 1.0


def test_deadlines_are_kept_and_the_others_slow_down(linked):
    """Twelve without a deadline leave each a thirteenth of the link; the urgent one needs more."""
    linked.request("POST", "/v1/completions", {"model": program.MODEL, "prompt": "a", "max_tokens": 30, "ignore_eos": True})
    ask = {"prompt": "Urgent:", "max_tokens": 60, "logprobs": 5}
    alone = Stream(linked, **ask).read()
    busy = [Stream(linked, f"Long story {i}:", max_tokens=150, logprobs=5) for i in range(12)]
    reading = [threading.Thread(target=stream.read) for stream in busy]
    for thread in reading:
        thread.start()
    time.sleep(0.5)
    urgent = Stream(linked, **ask, deadline_ms=6000).read()
    for thread in reading:
        thread.join()
    assert urgent.status == 200 and urgent.text == alone.text and urgent.events[-1] == "[DONE]"
    assert urgent.seconds < 6.1
    tokens = [token for chunk in urgent.chunks for choice in chunk["choices"] for token in (choice["logprobs"] or {"tokens": []})["tokens"]]
    assert "".join(tokens) == urgent.text and len(tokens) == 60
    assert min(stream.seconds for stream in busy) > urgent.seconds


def test_what_the_link_cannot_send_in_time_is_refused_at_once(server):
    ask = {"model": program.MODEL, "prompt": "Everything:", "max_tokens": 100, "ignore_eos": True, "logprobs": 20}  # over 50 kB
    with program.serving(program.MODEL, "--context", "4096", "--downlink-kbps", 64) as slow:
        slow.request("POST", "/v1/completions", {"model": program.MODEL, "prompt": "a", "max_tokens": 50, "ignore_eos": True})  # costs are known then
        for stream in (False, True):
            started = time.monotonic()
            refused = slow.request("POST", "/v1/completions", {**ask, "stream": stream, "deadline_ms": 4000})
            assert time.monotonic() - started < 1.0
            assert refused.status == 503 and refused.headers["x-should-retry"] == "false"
            assert refused.json["error"]["code"] == "deadline_unreachable" and "the link is too slow" in refused.json["error"]["message"]
        program.wait_until(lambda: slow.metrics()['edgewise_refused_total{reason="link"}'] == 2, 20, "both are counted")
        # Nobody without a deadline is: it only takes longer.
        assert slow.request("POST", "/v1/completions", {**ask, "max_tokens": 20}).status == 200
    assert server.request("POST", "/v1/completions", {**ask, "deadline_ms": 60_000}).status == 200
