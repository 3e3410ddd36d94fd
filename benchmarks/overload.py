#!/usr/bin/env python3
"""Overloads a server with everything that clients do wrong, and demands that it stays whole. Standard library only.

  overload.py [--seconds 600] [--clients 48] [--seed 1] MODEL       (a catalogue name or a model file; EDGEWISE: another binary)

Clients of several keys, one with limits, ask without pause: some hang up in the middle, some read slowly, some have deadlines that cannot be
met, some ask together for what others asked. At the end nothing may be left: no sequence, no block but those of the prefix cache. Fails on
any answer other than 200 and honest refusals (429, 503, 504), on an error in a stream that is none, and when memory grows by more than 5 %
from the first third of the run to its end.
"""
import argparse
import asyncio
import json
import os
import re
import random
import sys
import tempfile
import time
import urllib.request

import served
import serving

KEYS = "steady\nbusy share=2\nlimited concurrent=4 requests_per_minute=120\n"
REFUSALS = {"deadline_unreachable", "deadline_exceeded"}


class Outcomes(dict):
    def count(self, what):
        self[what] = self.get(what, 0) + 1


class Program(served.Server):
    """The server and what can be seen of it from outside."""

    def __init__(self, args):
        self.keys = tempfile.NamedTemporaryFile("w", suffix=".keys")
        self.keys.write(KEYS)
        self.keys.flush()
        super().__init__(served.edgewise(args.model, "--api-key-file", self.keys.name, "--cache-mib", args.cache_mib))
        self.wait()

    def metrics(self):
        request = urllib.request.Request(self.url + "/metrics", headers={"Authorization": "Bearer steady"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            lines = reply.read().decode().splitlines()
        lines = [re.sub(r'{model="[^"]*"}', "", line) for line in lines]  # there is one
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line and line[0] != "#")}

    def resident_mib(self):
        return self.memory_bytes("VmRSS") / 2 ** 20

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))


async def client(server, rng, until, outcomes):
    shared = ["You answer in one word.", serving.text_of(random.Random(0), 600)]
    while time.monotonic() < until:
        key = rng.choice(["steady", "busy", "busy", "limited"])
        messages = [{"role": "user", "content": serving.text_of(rng, rng.choice([8, 60, 300, 900]))}]
        if rng.random() < 0.3:
            messages.insert(0, {"role": "system", "content": rng.choice(shared)})
        fields = {"priority": rng.randint(-2, 2)}
        if rng.random() < 0.5:
            fields["deadline_ms"] = int(10 ** rng.uniform(1.5, 4.5))
        patience = rng.uniform(0.0, 8.0) if rng.random() < 0.3 else None
        slow = (lambda: asyncio.sleep(rng.uniform(0.0, 0.2))) if rng.random() < 0.15 else None
        asking = serving.Server(server.url, server.model, key).ask(messages, rng.choice([1, 16, 64, 200]), between=slow, **fields)
        try:
            answer = await asyncio.wait_for(asking, patience)
        except asyncio.TimeoutError:
            outcomes.count("hung up")
            continue
        except (OSError, asyncio.IncompleteReadError) as error:
            outcomes.count(f"FAULT {type(error).__name__}")
            continue
        error = answer.error if isinstance(answer.error, dict) else json.loads(answer.error)["error"] if answer.error else {}
        if answer.status in (429, 503, 504) or error.get("code") in REFUSALS:
            outcomes.count(f"refused {answer.status} {error.get('code')}")
            await asyncio.sleep(0.05)
        elif answer.status == 200 and not error and answer.usage:
            outcomes.count("whole")
        else:
            outcomes.count(f"FAULT {answer.status} {error}")


async def watch(program, begin, until, rows):
    while time.monotonic() < until:
        await asyncio.sleep(min(15.0, max(0.1, until - time.monotonic())))
        metrics = await asyncio.to_thread(program.metrics)
        rows.append({"seconds": round(time.monotonic() - begin), "resident_mib": round(program.resident_mib(), 1),
                     "open_files": program.open_files(), "running": metrics["edgewise_sequences_running"],
                     "waiting": metrics["edgewise_sequences_waiting"], "blocks_used": metrics["edgewise_kv_blocks_used"]})
        print(json.dumps(rows[-1]), flush=True)


async def overload(program, args):
    server = serving.Server(program.url, None, "steady")
    server.url, server.model = program.url, server.first_model()
    begin = time.monotonic()
    until, outcomes, rows = begin + args.seconds, Outcomes(), []
    await asyncio.gather(watch(program, begin, until, rows),
                         *(client(server, random.Random(args.seed * 1000 + i), until, outcomes) for i in range(args.clients)))
    return outcomes, rows


def leaks(program):
    """What is left when everybody has gone."""
    for _ in range(100):
        metrics = program.metrics()
        if metrics["edgewise_sequences_running"] + metrics["edgewise_sequences_waiting"] == 0:
            break
        time.sleep(0.1)
    return {"sequences": metrics["edgewise_sequences_running"] + metrics["edgewise_sequences_waiting"],
            "blocks": metrics["edgewise_kv_blocks_used"] - metrics["edgewise_kv_blocks_cached"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=48)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cache-mib", type=int, default=256, help="small, so that memory runs short (default: 256)")
    parser.add_argument("--record", action="store_true", help="keep the result in benchmarks/results")
    args = parser.parse_args()
    program = Program(args)
    try:
        outcomes, rows = asyncio.run(overload(program, args))
        left = leaks(program)
    finally:
        status = program.stop()
    early = max(row["resident_mib"] for row in rows[:max(1, len(rows) // 3)])
    growth = rows[-1]["resident_mib"] / early - 1.0
    faults = {what: count for what, count in outcomes.items() if what.startswith("FAULT")}
    passed = not faults and not any(left.values()) and growth <= 0.05 and status == 0
    result = {"benchmark": "overload", "seconds": args.seconds, "clients": args.clients, "seed": args.seed, "outcomes": outcomes,
              "left": left, "resident_growth": growth, "exit_status": status, "passed": passed, "rows": rows}
    print(json.dumps(result, indent=1))
    if args.record:
        served.record("overload", args.model, {"overload": result})
    sys.exit(not passed)


if __name__ == "__main__":
    main()
