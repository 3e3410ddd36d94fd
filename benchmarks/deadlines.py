#!/usr/bin/env python3
"""Requests inside their deadline, edgewise beside llama.cpp's and ik_llama.cpp's servers: deadlines.py [--requests 600] [--seeds 1,2,3] MODEL

1. On llama-server, one request at a time: what a request takes alone, from which the deadlines are drawn (1.5 to 6 times that).
2. Each peer in a closed loop of 32 clients, over 4, 8, 16 and 32 slots and then over its ways to run (race.py): the best is kept. edgewise too.
3. A seeded trace (Poisson arrivals, log-uniform lengths) at each load, a multiple of the better peer's requests/s in that loop, to edgewise,
   edgewise first come first served, and both peers, one after the other on a server of its own. Every client hangs up at its deadline.

In time is who has all of its tokens at its deadline, as the client sees it. The client runs on the same processors. Prints a line a run;
keeps what it has in benchmarks/results/deadlines-MODEL.json after each, and goes on from there with --resume. The peers: peers.py.
"""
import argparse
import asyncio
import collections
import contextlib
import datetime
import json
import math
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time
import types

import peers
import race
import served
import serving
from served import ROOT

CLIENTS = 32
SLACK = (1.5, 6.0)
WARM_UP = 12  # requests before a run: servers that learn have learned
PEERS = ("llama.cpp", "ik_llama.cpp")
CONTENDERS = ("edgewise", "edgewise fcfs", *PEERS)
FAILURES = (SystemExit, OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


def log_uniform(rng, span):
    return span[0] * (span[1] / span[0]) ** rng.random()


def messages_of(rng, tokens):
    return [{"role": "user", "content": serving.text_of(rng, tokens)}]


class Machine:
    """Starts any of the servers with the model."""

    def __init__(self, args):
        self.path, self.args = race.model_path(args.model), args
        self.peers = {c.name: race.Peer(args.peers, c, self.path, args.threads) for c in race.CONTENDERS if c.peer}
        self.slot_tokens = int(args.prompts[1] * 1.3 + args.answers[1]) + 128   # words are not quite tokens, and the template's

    def peer_command(self, way, slots, attention="on"):
        peer = self.peers[way]
        return [peer.bin / "llama-server", "-m", self.path, "-t", self.args.threads, "-tb", self.args.threads, "-c", slots * self.slot_tokens,
                "-np", slots, "-fa", attention, "--cache-ram", 0, "--host", "127.0.0.1", "--port", served.PORT, *peer.contender.server_flags]

    @contextlib.contextmanager
    def running(self, name, config):
        """A server that answers, or None when it does not start."""
        if name.startswith("edgewise"):
            command, env = served.edgewise(self.path, "--threads", self.args.threads,
                                           "--scheduler", "fcfs" if name.endswith("fcfs") else "deadline"), None
        else:
            command, env = self.peer_command(*config), self.peers[config[0]].env
        with tempfile.TemporaryDirectory() as folder:  # the peers drop logs where they run
            try:
                server = served.Server(command, stderr=subprocess.DEVNULL, env=env, cwd=folder).wait()
            except SystemExit:
                yield None
                return
            with server:
                yield server


def client_of(server):
    client = serving.Server(server.url, None, "none")
    client.model = client.first_model()
    return client


def closed_loop(server, args, clients, requests, seed):
    """Requests a second, or None when the server failed."""
    spans = types.SimpleNamespace(clients=clients, requests=requests, prompts=args.prompts, answers=args.answers)
    try:
        return asyncio.run(serving.closed(client_of(server), spans, random.Random(seed)))["requests_per_s"]
    except FAILURES as error:
        print(f"  failed: {error!r}", flush=True)
        return None




def ways_of(name):
    return [contender.name for contender in race.CONTENDERS if contender.peer == name]


async def corners_alone(client, corners, turns=4):
    """Median seconds of one request at a time, for each (prompt, answer)."""
    rng, seconds = random.Random(0), collections.defaultdict(list)
    for turn in range(turns):
        for prompt, answer in corners:
            begin = time.perf_counter()
            serving.demand([await client.ask(messages_of(rng, prompt), int(answer))])
            if turn:   # the first warms up
                seconds[prompt, answer].append(time.perf_counter() - begin)
    return {corner: statistics.median(values) for corner, values in seconds.items()}


def measure_alone(machine, args):
    """Seconds = start + prompt x tokens + answer x tokens on llama-server in its faster way, from the corners of the lengths; the fourth
    corner tells the error."""
    corners, found = [(prompt, answer) for prompt in args.prompts for answer in args.answers], {}
    for way in ways_of("llama.cpp"):
        with machine.running("llama.cpp", (way, 1)) as server:
            try:
                found[way] = asyncio.run(corners_alone(client_of(server), corners)) if server else None
            except FAILURES as error:
                print(f"{way} failed: {error!r}", flush=True)
    found = {way: at for way, at in found.items() if at}
    if not found:
        sys.exit("llama-server answers in none of its ways")
    way = min(found, key=lambda way: sum(found[way].values()))
    at, ((low, few), (_, many), (high, _), far) = found[way], corners
    prompt_s = (at[high, few] - at[low, few]) / (high - low)
    answer_s = (at[low, many] - at[low, few]) / (many - few)
    start_s = at[low, few] - low * prompt_s - few * answer_s
    error = (start_s + far[0] * prompt_s + far[1] * answer_s) / at[far] - 1
    return {"way": way, "start_s": start_s, "prompt_token_s": prompt_s, "answer_token_s": answer_s, "error_at_the_longest": error,
            "seconds": [{"prompt": p, "answer": a, "median_s": at[p, a]} for p, a in corners]}


def best_way(machine, args, name, record):
    """((way, slots, flash attention), rate) of the peer's most requests a second; every try is in `record`. Slots are swept in the first
    way that answers; without flash attention only where it fails with it (ik_llama.cpp's aborts with several sequences)."""
    rates = {}

    def attempt(way, slots):
        for attention in ("on", "off"):
            config = way, slots, attention
            with machine.running(name, config) as server:
                works = server is not None and closed_loop(server, args, 4, WARM_UP, 0)
                rate = closed_loop(server, args, CLIENTS, args.closed, 1) if works else None
            record.append({"way": way, "slots": slots, "flash_attention": attention, "requests_per_s": rate})
            print(f"closed loop: {way}, {slots} slots, flash attention {attention}: {'failed' if rate is None else f'{rate:.3f} requests/s'}", flush=True)
            if rate:
                rates[config] = rate
                return rate
        return None

    for way in ways_of(name):
        if rates:
            attempt(way, max(rates, key=rates.get)[1])
            continue
        for slots in args.slots:
            if not attempt(way, slots) and slots == args.slots[0]:
                break   # not in this way
    best = max(rates, key=rates.get, default=None)
    return best, rates.get(best, 0.0)


def draw(args, alone, rate, seed):
    rng, now, trace = random.Random(seed), 0.0, []
    for _ in range(args.requests):
        now += rng.expovariate(rate)
        prompt, answer = log_uniform(rng, args.prompts), int(log_uniform(rng, args.answers))
        takes = alone["start_s"] + prompt * alone["prompt_token_s"] + answer * alone["answer_token_s"]
        trace.append({"at": now, "messages": messages_of(rng, prompt), "answer": answer, "deadline": log_uniform(rng, SLACK) * takes})
    return trace


async def ask(client, request, began):
    """How it ended: "in time", or what went wrong."""
    await asyncio.sleep(max(0.0, began + request["at"] - time.perf_counter()))
    answer = serving.Answer()
    try:
        await asyncio.wait_for(client.ask(request["messages"], request["answer"], answer, deadline_ms=int(1000 * request["deadline"])),
                               request["deadline"])
    except asyncio.TimeoutError:
        return "hung up"
    except FAILURES:
        return "broken"
    if answer.status in (429, 503):
        return "refused"
    if answer.status != 200 or answer.error:
        return "ended by the server"
    return "in time" if answer.tokens == request["answer"] else "short"


async def offer(client, trace):
    began = time.perf_counter() + 0.2
    return await asyncio.gather(*(ask(client, request, began) for request in trace))


def run(machine, args, name, config, trace):
    with machine.running(name, config) as server:
        if server is None:
            return {"failed": "the server did not start"}
        closed_loop(server, args, 4, WARM_UP, 0)
        began = time.perf_counter()
        try:
            outcomes = collections.Counter(asyncio.run(offer(client_of(server), trace)))
        except FAILURES as error:
            return {"failed": repr(error)}
        died = server.has_ended()
        return {"in_time": outcomes["in time"], "outcomes": dict(outcomes), "seconds": time.perf_counter() - began, **({"failed": "died"} if died else {})}


def summarize(record):
    """Shares in time by load, all seeds together, and edgewise against the better peer and against itself first come first served."""
    table = []
    for load in record["loads"]:
        offered, in_time = collections.Counter(), collections.Counter()
        for row in record["runs"]:
            if row["load"] == load and "in_time" in row:
                offered[row["server"]] += row["offered"]
                in_time[row["server"]] += row["in_time"]
        shares = {name: in_time[name] / offered[name] for name in offered}
        line = {"load": load, "in_time": shares}
        if "edgewise" in shares:
            rivals = [shares[name] for name in PEERS if name in shares]
            line |= {"against_the_better_peer": shares["edgewise"] / max(rivals)} if rivals and max(rivals) else {}
            line |= {"against_fcfs": shares["edgewise"] / shares["edgewise fcfs"]} if shares.get("edgewise fcfs") else {}
        table.append(line)
    return table


def print_table(record):
    print(f"\n{record['model']}, {record['cpu']}, {record['threads']} threads; requests in time, of the offered")
    print(f"{'load':>6} " + " ".join(f"{name:>14}" for name in CONTENDERS) + f" {'/ better peer':>14} {'/ fcfs':>8}")
    for line in record["table"]:
        cells = " ".join(f"{100 * line['in_time'].get(name, float('nan')):>13.1f}%" for name in CONTENDERS)
        print(f"{line['load']:>6g} {cells} {line.get('against_the_better_peer', float('nan')):>14.2f} {line.get('against_fcfs', float('nan')):>8.2f}", flush=True)


def span(text):
    low, _, high = text.partition(":")
    return float(low), float(high)


def numbers(kind):
    return lambda text: [kind(part) for part in text.split(",")]


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--requests", type=int, default=600, help="of each trace")
    parser.add_argument("--seeds", type=numbers(int), default=[1, 2, 3])
    parser.add_argument("--loads", type=numbers(float), default=[0.7, 1.2, 2.0])
    parser.add_argument("--slots", type=numbers(int), default=[4, 8, 16, 32])
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(CONTENDERS), metavar="SERVER,...")
    parser.add_argument("--closed", type=int, default=64, help="requests of each closed loop")
    parser.add_argument("--prompts", type=span, default=(64.0, 1024.0), help="tokens, log-uniform (default: 64:1024)")
    parser.add_argument("--answers", type=span, default=(32.0, 256.0), help="tokens, log-uniform (default: 32:256)")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--peers", type=pathlib.Path, default=peers.FOLDER, metavar="FOLDER")
    parser.add_argument("--output", type=pathlib.Path, help="default: benchmarks/results/deadlines-MODEL.json")
    parser.add_argument("--resume", action="store_true", help="keep the measurements and runs that are in the output already")
    args = parser.parse_args()
    if unknown := set(args.only) - set(CONTENDERS):
        parser.error(f"unknown server {', '.join(sorted(unknown))}; there are {', '.join(CONTENDERS)}")
    least = [args.requests, args.closed, args.threads, *args.slots]
    if min(least) < 1 or not all(0 < load < math.inf for load in args.loads):
        parser.error("requests, slots, threads and loads have to be positive")
    if any(not 1 <= low <= high for low, high in (args.prompts, args.answers)):
        parser.error("lengths are LEAST:MOST, from 1 up")
    args.peers = peers.prepare(args.peers.resolve())
    args.output = args.output or ROOT / f"benchmarks/results/deadlines-{pathlib.Path(args.model).name.removesuffix('.gguf')}.json"
    return args


def new_record(machine, args):
    head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return {"model": args.model, "cpu": race.edgewise_json("bench", machine.path, "--prompt", 1, "--generate", 1, "--sequences", 1)["cpu"],
            "threads": args.threads, "date": datetime.date.today().isoformat(),
            "command": "benchmarks/deadlines.py " + " ".join(part for part in sys.argv[1:] if part != "--resume"), "commit": head,
            "peers": {peer.name: f"{peer.package} {peer.version}" for peer in peers.PEERS}, "prompts": args.prompts, "answers": args.answers,
            "slack": SLACK, "requests": args.requests, "seeds": args.seeds, "loads": args.loads, "runs": []}


def main():
    args = parse()
    machine = Machine(args)
    record = json.loads(args.output.read_text()) if args.resume and args.output.exists() else new_record(machine, args)
    record |= {"requests": args.requests, "seeds": args.seeds, "loads": args.loads}

    def keep():
        record["table"] = summarize(record)
        args.output.write_text(json.dumps(record, indent=1) + "\n")

    if "alone" not in record:
        record["alone"] = measure_alone(machine, args)
        alone = record["alone"]
        print(f"alone on {alone['way']}'s server: {alone['start_s']:.3f} s + {1e3 * alone['prompt_token_s']:.2f} ms x prompt + "
              f"{1e3 * alone['answer_token_s']:.2f} ms x answer; the longest is off by {100 * alone['error_at_the_longest']:+.0f} %", flush=True)
        keep()
    closed = record.setdefault("closed", {})
    rate_before = max((its["requests_per_s"] for its in closed.values()), default=0.0)
    for name in PEERS:
        if closed.get(name, {}).get("best") is None:
            tries = []
            best, rate = best_way(machine, args, name, tries)
            closed[name] = {"tries": tries, "best": best, "requests_per_s": rate}
            keep()
    rate = max(its["requests_per_s"] for its in record["closed"].values())
    if not rate:
        sys.exit("no peer finished a closed loop")
    if "edgewise" in args.only and "edgewise_closed" not in record:
        with machine.running("edgewise", None) as server:
            works = server is not None and closed_loop(server, args, 4, WARM_UP, 0)
            record["edgewise_closed"] = closed_loop(server, args, CLIENTS, args.closed, 1) if works else None
        keep()
    if own := record.get("edgewise_closed"):
        print(f"closed loop, {CLIENTS} clients: edgewise {own:.3f} requests/s, the better peer {rate:.3f}: {own / rate:.2f} x", flush=True)
    if record["runs"] and rate != rate_before:
        print(f"the better peer's rate is {rate:.3f} requests/s now, not {rate_before:.3f}: loads mean something else, runs begin anew", flush=True)
        record["runs"] = []
    done = {(row["server"], row["load"], row["seed"], row["offered"]) for row in record["runs"] if "failed" not in row}
    for seed in args.seeds:
        for load in args.loads:
            trace = draw(args, record["alone"], load * rate, seed)
            for name in args.only:
                if (name, load, seed, len(trace)) in done:
                    continue
                config = record["closed"][name]["best"] if name in PEERS else None
                if name in PEERS and config is None:
                    continue
                result = run(machine, args, name, config, trace)
                record["runs"].append({"server": name, "load": load, "seed": seed, "offered": len(trace), **result})
                keep()
                print(f"seed {seed}, {load:g} x {rate:.3f} requests/s, {name}: {result.get('in_time', 0)} of {len(trace)} in time, "
                      f"{result.get('outcomes', result)}, {result.get('seconds', 0):.0f} s", flush=True)
    print_table(record)
    print(f"recorded in {args.output}")


if __name__ == "__main__":
    main()
