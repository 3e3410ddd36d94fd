#!/usr/bin/env python3
"""What clients behind a slow link see, with and without --downlink-kbps. Standard library only; needs root, `ip` and `tc`.

  link.py smollm2                         256 kbit/s, 16 readers, a request with a deadline every 2 s
  link.py --kbps 1000 --readers 32 MODEL

The server runs in a network namespace whose only way out is a veth with a token bucket filter (tc tbf) and a queue of 2 s, as modems
have. Readers stream answers without a deadline, one after the other; urgent requests have one. In time: the last byte is at the client.
Prints a table and, with --json, all figures. The client runs on the same processors as the server.
"""
import argparse
import json
import os
import socket
import subprocess
import sys
import threading
import time

import served

INSIDE, OUTSIDE = "10.231.77.1", "10.231.77.2"


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class ShapedLink:
    """A namespace behind a slow link; everything goes away with it."""

    def __init__(self, kbps):
        self.name = f"edgewise-link-{os.getpid()}"
        self.near, far = f"ewl{os.getpid()}a"[:15], f"ewl{os.getpid()}b"[:15]
        self.run("ip", "netns", "add", self.name)
        self.run("ip", "link", "add", self.near, "type", "veth", "peer", "name", far, "netns", self.name)
        self.run("ip", "addr", "add", f"{OUTSIDE}/30", "dev", self.near)
        self.run("ip", "link", "set", self.near, "up")
        self.run(*self.inside("ip", "link", "set", "lo", "up"))
        self.run(*self.inside("ip", "addr", "add", f"{INSIDE}/30", "dev", far))
        self.run(*self.inside("ip", "link", "set", far, "up"))
        # One packet is one packet: no segments of 64 kB that the bucket could never hold.
        subprocess.run(self.inside("ethtool", "-K", far, "tso", "off", "gso", "off"), capture_output=True)
        self.run(*self.inside("tc", "qdisc", "add", "dev", far, "root", "tbf", "rate", f"{kbps}kbit", "burst", "4000", "latency", "2s"))

    def inside(self, *command):
        return ["ip", "netns", "exec", self.name, *command]

    @staticmethod
    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: {done.stderr.strip()}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True)
        subprocess.run(["ip", "link", "del", self.near], capture_output=True)  # gone already, unless something held the namespace


class Answer:
    """One streamed chat, read until its end or `stop`."""

    def __init__(self, port, stop, question, **parameters):
        body = json.dumps({"model": "link", "messages": [{"role": "user", "content": question}], "stream": True,
                           "stream_options": {"include_usage": True}, "ignore_eos": True, "temperature": 0, **parameters}).encode()
        self.began = time.monotonic()
        self.first = self.ended = None
        self.bytes = self.tokens = self.status = 0
        self.code = None
        self.stamps = []
        self.whole = False
        try:
            with socket.create_connection((INSIDE, port), timeout=30) as connection:
                connection.settimeout(0.5)
                connection.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                self.read(connection, stop)
        except OSError as error:
            self.code = str(error)

    def read(self, connection, stop):
        pending = b""
        while not stop.is_set():
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                continue
            if not piece:
                break
            self.bytes += len(piece)
            self.ended = time.monotonic()
            pending += piece
            *lines, pending = pending.split(b"\n")
            for line in lines:
                self.take(line.strip())
        if self.status != 200 and pending.strip().startswith(b"{"):
            self.code = json.loads(pending)["error"]["code"]

    def take(self, line):
        if line.startswith(b"HTTP/1.1"):
            self.status = int(line.split()[1])
        if line == b"data: [DONE]":
            self.whole = True
        elif line.startswith(b"data: "):
            event = json.loads(line[6:])
            if "error" in event:
                self.code = event["error"]["code"]
                return
            self.tokens = (event.get("usage") or {}).get("completion_tokens", self.tokens)
            if any(choice["delta"].get("content") for choice in event["choices"]):
                self.stamps.append(time.monotonic())


def measure(options, link, downlink_kbps):
    limit = ["--downlink-kbps", str(downlink_kbps)] if downlink_kbps else []
    command = served.edgewise(options.model, "--alias", "link", "--host", INSIDE, "--context", "4096", *limit)
    with served.Server(link.inside(*map(lambda part: part if part is served.PORT else str(part), command))) as server:
        server.url = f"http://{INSIDE}:{server.port}"
        server.wait()
        never = threading.Event()
        Answer(server.port, never, "Count to fifty.", max_tokens=50)  # costs are known then
        stop = threading.Event()
        read, urgent = [], []

        def reader(number):
            turn = 0
            while not stop.is_set():
                turn += 1
                read.append(Answer(server.port, stop, f"Tell story {number}.{turn}.", max_tokens=options.reader_tokens))

        def ask(number):
            urgent.append(Answer(server.port, never, f"Report {number}.", max_tokens=options.urgent_tokens, deadline_ms=int(options.deadline_s * 1e3)))

        threads = [threading.Thread(target=reader, args=(i,)) for i in range(options.readers)]
        for thread in threads:
            thread.start()
        begin = time.monotonic()
        number = 0
        while (left := begin + options.seconds - time.monotonic()) > options.deadline_s:
            time.sleep(min(left, options.every_s))
            number += 1
            threads.append(threading.Thread(target=ask, args=(number,)))
            threads[-1].start()
        time.sleep(max(0.0, begin + options.seconds - time.monotonic()))
        stop.set()
        for thread in threads:
            thread.join()
    in_time = [a for a in urgent if a.whole and a.ended - a.began <= options.deadline_s]
    gaps = [later - earlier for answer in read for earlier, later in zip(answer.stamps, answer.stamps[1:])]
    whole = [answer for answer in read if answer.whole]
    return {
        "downlink_kbps": downlink_kbps,
        "urgent": len(urgent),
        "urgent_in_time": len(in_time),
        "urgent_refused_at_once": sum(1 for a in urgent if a.status == 503),
        "urgent_median_s": quantile([a.ended - a.began for a in urgent if a.whole], 0.5),
        "urgent_worst_s": max([a.ended - a.began for a in urgent if a.whole], default=None),
        "readers_first_text_median_s": quantile([a.stamps[0] - a.began for a in read if a.stamps], 0.5),
        "readers_first_text_worst_s": max([a.stamps[0] - a.began for a in read if a.stamps], default=None),
        "gap_p50_s": quantile(gaps, 0.5),
        "gap_p99_s": quantile(gaps, 0.99),
        "gap_worst_s": max(gaps, default=None),
        "whole_answers": len(whole),
        "bytes_a_token": sum(a.bytes for a in whole) / max(1, sum(a.tokens for a in whole)),
        "bytes_a_s": sum(a.bytes for a in read + urgent) / options.seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--kbps", type=int, default=256, help="of the link")
    parser.add_argument("--share", type=float, default=0.95, help="of it, that the server is told")
    parser.add_argument("--readers", type=int, default=16)
    parser.add_argument("--reader-tokens", type=int, default=150)
    parser.add_argument("--urgent-tokens", type=int, default=60)
    parser.add_argument("--deadline-s", type=float, default=6.0)
    parser.add_argument("--every-s", type=float, default=2.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--record", action="store_true", help="keep the result in benchmarks/results")
    options = parser.parse_args()
    results = []
    for told in (0, int(options.kbps * options.share)):
        with ShapedLink(options.kbps) as link:
            results.append(measure(options, link, told))
    if options.record:
        served.record("serving", options.model, {"link": {"without_limit": results[0], "with_limit": results[1]}})
    if options.json:
        json.dump(results, sys.stdout, indent=1)
        print()
        return
    print("| | " + " | ".join(f"--downlink-kbps {r['downlink_kbps']}" if r["downlink_kbps"] else "no limit given" for r in results) + " |")
    print("| --- " * (len(results) + 1) + "|")
    for name in list(results[0])[1:]:
        shown = [f"{r[name]:.3g}" if isinstance(r[name], float) else str(r[name]) for r in results]
        print(f"| {name} | " + " | ".join(shown) + " |")


if __name__ == "__main__":
    main()
