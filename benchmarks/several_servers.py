#!/usr/bin/env python3
"""One server before another, against two that get requests in turn: several_servers.py [--rate 0.7,1.2,2] [--seeds 1,2] [--beside] MODEL

Two servers of one thread, each pinned to a core of its own, get the same traces (as of replay.py: Poisson arrivals, deadlines of 1.5 to 6
times what a request takes alone; every client hangs up at its deadline) in two ways:
  front     all go to one server, which has the other as its node (`--node`);
  in turn   the client gives every other request to the other server, as a balancer would that knows nothing of them.
Rates are multiples of what both cores can do by `edgewise profile`. --beside: another program keeps the second core busy, so that the second
server has half of it, which neither way is told (and which the rates do not count).

Prints how many ended in time; writes benchmarks/results/CPU-KERNELS/servers-MODEL.json.
"""
import argparse
import contextlib
import json
import os
import subprocess
import tempfile
import threading
import time

import replay
import served
from served import BINARY


def pinned(core, command):
    return ["taskset", "-c", str(core), *command]


@contextlib.contextmanager
def serve(model, core, *options):
    command = pinned(core, served.edgewise(model, "--alias", "any", "--threads", 1, "--no-speculation", *options))
    with served.Server([part if part is served.PORT else str(part) for part in command], stderr=subprocess.DEVNULL).wait() as server:
        yield server


@contextlib.contextmanager
def busy(core):
    other = subprocess.Popen(pinned(core, ["sh", "-c", "while :; do :; done"]))
    try:
        yield
    finally:
        other.kill()
        other.wait()


def in_time(model, cores, way, warm, trace):
    with serve(model, cores[1]) as second:
        options = ["--node", second.url] if way == "front" else []
        with serve(model, cores[0], *options) as first:
            time.sleep(1.5)  # the front has found its node
            for server in (first, second):  # both learn what their steps cost
                replay.send([server.port], warm)
            return replay.send([first.port] if way == "front" else [first.port, second.port], trace)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--rate", default="0.7,1.2,2", help="multiples of both cores' capacity by a core's profile")
    parser.add_argument("--count", type=int, default=100, help="requests of each trace")
    parser.add_argument("--seeds", default="1,2,3", help="a trace for each")
    parser.add_argument("--beside", action="store_true")
    args = parser.parse_args()
    threading.stack_size(1 << 20)
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("two cores are needed, one for each server")
    with tempfile.NamedTemporaryFile(suffix=".json") as profile:
        subprocess.run(pinned(cores[0], [str(BINARY), "profile", args.model, "--threads", "1", "--output", profile.name]), check=True, capture_output=True)
        step = json.load(open(profile.name))["nodes"][0]["variants"][0]["step"]
    rows = []
    print(f"{'rate':>5} {'offered':>8} {'front':>6} {'in turn':>8}")
    with busy(cores[1]) if args.beside else contextlib.nullcontext():
        for multiple in map(float, args.rate.split(",")):
            row = {"rate": multiple, "offered_by_seed": args.count, "front": [], "in turn": []}
            for seed in map(int, args.seeds.split(",")):
                trace = replay.draw(step, 2 * multiple * replay.capacity(step), args.count, seed)
                warm = replay.draw(step, replay.capacity(step), 12, seed + 1000)
                for way in ("front", "in turn") if seed % 2 else ("in turn", "front"):
                    row[way].append(in_time(args.model, cores, way, warm, trace))
            rows.append(row)
            print(f"{multiple:>5g} {args.count * len(row['front']):>8} {sum(row['front']):>6} {sum(row['in turn']):>8}   {row['front']} {row['in turn']}", flush=True)
    served.record("servers", args.model, {"beside" if args.beside else "alike": {"step": step, "rows": rows}})


if __name__ == "__main__":
    main()
