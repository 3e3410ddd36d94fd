#!/usr/bin/env python3
"""Times any OpenAI-compatible server as its clients see it. Standard library only.

  serving.py gaps    tokens of a few readers while 2,000-token prompts arrive: p99 of the gap between tokens to its p50
  serving.py prefix  time to first token with a shared beginning, and without
  serving.py changed time to first token when the second line of a known prompt has changed, with approximate reuse and without
                     (this server only: others do not know the field)
  serving.py closed  many clients, each asking again as soon as it is answered: tokens per second

The server runs elsewhere (`edgewise serve MODEL`), or is started for the run: --serve MODEL, whose result is kept with --record. This client takes a share of the same processors, so each run also says how
uneven the machine itself is: the same ratio for a loop of pure computation, before and after.
"""
import argparse
import asyncio
import concurrent.futures
import hashlib
import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import served

WORDS = ("the of and to in is that for it as was with be by on not he but at are this have from or had an they which one you were all "
         "there would their we him been has when who will no more if out so up said what its about than into them can only other time "
         "pump valve signal train bridge river patient window kitchen sensor motor report shift green amber north pressure").split()

# Each token of its answer is text at once; half a character or a hidden token would look like a gap.
COUNTING = "Count upwards from {} in steps of one, in digits, separated by commas. Do not stop."


def quantile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def text_of(rng, tokens):
    """About that many tokens of words that no cache has seen."""
    return " ".join(rng.choice(WORDS) for _ in range(int(tokens / 1.1)))


class Answer:
    def __init__(self):
        self.began = time.perf_counter()
        self.status = 0
        self.error = None
        self.stamps = []      # of events that brought text
        self.usage = {}

    def take(self, line):
        if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
            return
        event = json.loads(line[6:])
        self.error = event.get("error", self.error)
        self.usage = event.get("usage") or self.usage
        if any((choice.get("delta") or {}).get("content") for choice in event.get("choices") or []):
            self.stamps.append(time.perf_counter())

    @property
    def tokens(self):
        return self.usage.get("completion_tokens", len(self.stamps))

    @property
    def first_token_seconds(self):
        return self.stamps[0] - self.began if self.stamps else None

    @property
    def gaps(self):
        return [later - earlier for earlier, later in zip(self.stamps, self.stamps[1:])]


class Server:
    def __init__(self, url, model, key):
        parts = urllib.parse.urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 80
        self.model = model
        self.key = key

    async def ask(self, messages, max_tokens, answer=None, between=None, **fields):
        """Streams one answer; `between` is awaited after each piece of it. Ends early, connection and all, when cancelled."""
        answer = answer or Answer()
        body = json.dumps({"model": self.model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, "stream": True,
                           "stream_options": {"include_usage": True}, "ignore_eos": True, **fields}).encode()
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=1 << 16)
        try:
            writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.key}\r\n"
                         f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
            head = await reader.readuntil(b"\r\n\r\n")
            answer.status = int(head.split(None, 2)[1])
            if b"transfer-encoding: chunked" not in head.lower():
                answer.error = (await reader.read()).decode(errors="replace")   # an error, which is short
                return answer
            while size := int(await reader.readline(), 16):
                for line in (await reader.readexactly(size + 2)).split(b"\n"):
                    answer.take(line)
                if between is not None:
                    await between()
            return answer
        finally:
            writer.close()

    def first_model(self):
        request = urllib.request.Request(f"http://{self.host}:{self.port}/v1/models", headers={"Authorization": f"Bearer {self.key}"})
        with urllib.request.urlopen(request) as response:
            return json.load(response)["data"][0]["id"]


def demand(answers):
    for answer in answers:
        if answer.status != 200 or answer.error:
            sys.exit(f"the server answered {answer.status}: {answer.error}")


def bare_loop(seconds=3.0):
    """p50 and p99 / p50 of what a step is to a machine, without a server: some milliseconds on every processor, and all wait for all."""
    processors = len(os.sched_getaffinity(0))
    block = b"x" * (9 << 19)   # hashlib lets other threads run meanwhile
    times, end = [], time.perf_counter() + seconds
    with concurrent.futures.ThreadPoolExecutor(processors) as pool:
        while time.perf_counter() < end:
            begin = time.perf_counter()
            list(pool.map(lambda _: hashlib.sha256(block).digest(), range(processors)))
            times.append(time.perf_counter() - begin)
    return {"p50_ms": 1e3 * quantile(times, .5), "p99_over_p50": quantile(times, .99) / quantile(times, .5)}


def gap_report(gaps):
    p50, p99 = quantile(gaps, .5), quantile(gaps, .99)
    return {"gaps": len(gaps), "p50_ms": 1e3 * p50, "p99_ms": 1e3 * p99, "max_ms": 1e3 * max(gaps), "p99_over_p50": p99 / p50}


async def gaps(server, args, rng):
    async def read(with_prompts):
        readers = [Answer() for _ in range(args.readers)]
        reading = [asyncio.create_task(server.ask([{"role": "user", "content": COUNTING.format(rng.randint(1, 1000))}], args.tokens, answer))
                   for answer in readers]
        while any(not answer.stamps for answer in readers):
            await asyncio.sleep(0.01)
            demand(task.result() for task in reading if task.done())
        begin, prompts = time.perf_counter(), []
        while not any(task.done() for task in reading):   # all read along
            if with_prompts:
                prompts.append(await server.ask([{"role": "user", "content": text_of(rng, args.prompt)}], 1))
            await asyncio.sleep(args.pause)
        end = min(answer.stamps[-1] for answer in readers)
        demand(prompts + list(await asyncio.gather(*reading)))
        spans = [g for answer in readers for g, at in zip(answer.gaps, answer.stamps[1:]) if begin <= at <= end]
        shown = sum(len(answer.stamps) for answer in readers) / sum(answer.tokens for answer in readers)
        return {**gap_report(spans), "shown_tokens": shown, "prompts": len(prompts),
                "first_token_s": quantile([p.first_token_seconds for p in prompts if p.stamps], .5)}

    await server.ask([{"role": "user", "content": text_of(rng, args.prompt)}], 32)   # the server learns what steps cost
    return {"without_prompts": await read(False), "with_prompts": await read(True)}


async def prefix(server, args, rng):
    def messages(system):
        return [{"role": "system", "content": system}, {"role": "user", "content": text_of(rng, rng.randint(16, 48))}]

    shared = text_of(rng, args.prompt)
    without = [await server.ask(messages(text_of(rng, args.prompt)), 4) for _ in range(args.rounds)]
    await server.ask(messages(shared), 4)
    with_reuse = [await server.ask(messages(shared), 4) for _ in range(args.rounds)]
    demand(without + with_reuse)
    first = [quantile([a.first_token_seconds for a in answers], .5) for answers in (without, with_reuse)]
    return {"without_reuse_s": first[0], "with_reuse_s": first[1], "times_sooner": first[0] / first[1]}


async def changed(server, args, rng):
    def messages(text, seconds):
        clock = f"Time: 14:{seconds // 60:02}:{seconds % 60:02}"
        return [{"role": "system", "content": f"You help the crew of a plant.\n{clock}\nAnswer from this.\n\n{text}"},
                {"role": "user", "content": "What is the text about?"}]

    exact, approximate = [], []
    for _ in range(args.rounds):
        text = text_of(rng, args.prompt)
        demand([await server.ask(messages(text, 0), 4)])
        approximate.append(await server.ask(messages(text, rng.randint(1, 1799)), 4, approximate_reuse=True))
        exact.append(await server.ask(messages(text, rng.randint(1800, 3599)), 4))
    demand(exact + approximate)
    reused = [a.usage["prompt_tokens_details"].get("approximate_tokens", 0) for a in approximate]
    sooner = [e.first_token_seconds / a.first_token_seconds for e, a in zip(exact, approximate)]
    return {"prompt_tokens": quantile([a.usage["prompt_tokens"] for a in exact], .5), "approximate_tokens": quantile(reused, .5),
            "exact_s": quantile([a.first_token_seconds for a in exact], .5),
            "approximate_s": quantile([a.first_token_seconds for a in approximate], .5),
            "times_sooner": {"median": quantile(sooner, .5), "best": max(sooner), "worst": min(sooner)}}


async def closed(server, args, rng):
    def log_uniform(span):
        return span[0] * (span[1] / span[0]) ** rng.random()

    asked = iter([(text_of(rng, log_uniform(args.prompts)), int(log_uniform(args.answers))) for _ in range(args.requests)])
    answers = []

    async def client():
        for content, tokens in asked:
            answers.append(await server.ask([{"role": "user", "content": content}], tokens))

    begin = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(args.clients)))
    seconds = time.perf_counter() - begin
    demand(answers)
    first = [a.first_token_seconds for a in answers]
    return {"requests": len(answers), "seconds": seconds, "requests_per_s": len(answers) / seconds,
            "tokens_per_s": sum(a.tokens for a in answers) / seconds, "first_token_p50_s": quantile(first, .5),
            "first_token_p99_s": quantile(first, .99), "gap": gap_report([g for a in answers for g in a.gaps])}


def span(text):
    low, _, high = text.partition(":")
    return float(low), float(high or low)


def parse():
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--url", default="http://127.0.0.1:8080")
    common.add_argument("--model", help="default: the first that /v1/models names")
    common.add_argument("--key", default="none")
    common.add_argument("--seed", type=int, default=1)
    common.add_argument("--serve", metavar="MODEL", help="start edgewise with it, with a context of 8,192 tokens")
    common.add_argument("--record", action="store_true", help="with --serve: keep the result in benchmarks/results")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("gaps", parents=[common])
    one.add_argument("--readers", type=int, default=4)
    one.add_argument("--tokens", type=int, default=512, help="of each reader's answer")
    one.add_argument("--prompt", type=int, default=2000, help="tokens of an arriving prompt")
    one.add_argument("--pause", type=float, default=0.2, help="seconds from one prompt's answer to the next prompt")
    one = kinds.add_parser("prefix", parents=[common])
    one.add_argument("--prompt", type=int, default=1500)
    one.add_argument("--rounds", type=int, default=7)
    one = kinds.add_parser("changed", parents=[common])
    one.add_argument("--prompt", type=int, default=1500)
    one.add_argument("--rounds", type=int, default=7)
    one = kinds.add_parser("closed", parents=[common])
    one.add_argument("--clients", type=int, default=32)
    one.add_argument("--requests", type=int, default=96)
    one.add_argument("--prompts", type=span, default=(64, 1024), help="tokens, log-uniform (default: 64:1024)")
    one.add_argument("--answers", type=span, default=(32, 256), help="tokens, log-uniform (default: 32:256)")
    args = parser.parse_args()
    if args.record and not args.serve:
        parser.error("--record needs --serve: what runs elsewhere may be anything")
    return args


def measure(args):
    server = Server(args.url, args.model, args.key)
    try:
        server.model = args.model or server.first_model()
    except urllib.error.URLError as error:
        raise SystemExit(f"no server answers at {args.url} ({error.reason}): start one, for example build/release/edgewise serve smollm2")
    before = bare_loop()
    kind = {"gaps": gaps, "prefix": prefix, "changed": changed, "closed": closed}[args.kind]
    report = asyncio.run(kind(server, args, random.Random(args.seed)))
    return {"benchmark": args.kind, "model": server.model, "seed": args.seed, **report, "bare_loop": [before, bare_loop()]}


def main():
    args = parse()
    if not args.serve:
        print(json.dumps(measure(args), indent=1))
        return
    with served.Server(served.edgewise(args.serve, "--context", "8192"), stderr=subprocess.DEVNULL) as server:
        args.url = server.wait().url
        result = measure(args)
    print(json.dumps(result, indent=1))
    if args.record:
        served.record("serving", args.serve, {args.kind: result})


if __name__ == "__main__":
    main()
