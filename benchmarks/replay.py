#!/usr/bin/env python3
"""Requests with deadlines against a real server, and the same in the simulator: replay.py [--rate 1,2,4] [--seeds 1,2] MODEL

Measures this machine with `edgewise profile`, draws a trace (Poisson arrivals, prompts and answers of the lengths below, deadlines
1.5 to 6 times what each would take alone by that profile), sends it to `edgewise serve MODEL` (token ids, so lengths are exact; every
client hangs up at its deadline), then gives profile and trace to `edgewise simulate`. The server computes no guesses: the simulator
knows no texts to guess from. Prints how many ended in time in each, for each rate (as a multiple of what the profile says the machine
can do), all seeds together. Writes benchmarks/results/CPU-KERNELS/replay-MODEL.json; what it holds of schedulers that are not asked for stays.
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import random
import subprocess
import tempfile
import threading
import time

import served
from served import BINARY

PROMPT_TOKENS, OUTPUT_TOKENS = (32, 64, 128, 256), (16, 32, 64, 128)
SLACK = (1.5, 6.0)
POLICIES = {"deadline": "ot-gah", "fcfs": "continuous-fcfs"}  # of the simulator, by scheduler of the server


def edgewise(*args):
    return subprocess.run([str(BINARY), *map(str, args)], check=True, capture_output=True, text=True).stdout


def profile(model, threads):
    return json.loads(edgewise("profile", model, "--threads", threads))


def alone_seconds(step, prompt, output):
    """As schedule/step_cost.h adds it up, for one request by itself."""
    chunks = -(-prompt // step["chunk_tokens"])
    first = chunks * step["launch_s"] + prompt * step["prompt_token_s"] + prompt * (prompt + 1) / 2 * step["prompt_pair_s"]
    each = step["launch_s"] + max(step["weights_s"], step["row_s"]) + (prompt + output / 2) * step["position_s"]
    return first + (output - 1) * each


def capacity(step):
    """Requests a second when 16 of them always run together: only a scale for the rates."""
    prompt, output = sum(PROMPT_TOKENS) / len(PROMPT_TOKENS), sum(OUTPUT_TOKENS) / len(OUTPUT_TOKENS)
    shared = (step["launch_s"] + max(step["weights_s"], 16 * step["row_s"]) + 16 * (prompt + output / 2) * step["position_s"]) / 16
    return 1 / (prompt * step["prompt_token_s"] + output * shared)


def draw(step, rate, count, seed):
    rng, now, trace = random.Random(seed), 0.0, []
    for _ in range(count):
        now += rng.expovariate(rate)
        prompt, output = rng.choice(PROMPT_TOKENS), rng.choice(OUTPUT_TOKENS)
        trace.append({"arrival_s": now, "prompt_tokens": prompt, "output_tokens": output,
                      "deadline_s": rng.uniform(*SLACK) * alone_seconds(step, prompt, output)})
    return trace


def ask(port, request, seed, started):
    """True when the whole answer came before the deadline."""
    rng = random.Random(seed)
    body = json.dumps({"model": "any", "prompt": [rng.randrange(100, 20000) for _ in range(request["prompt_tokens"])],
                       "max_tokens": request["output_tokens"], "min_tokens": request["output_tokens"], "ignore_eos": True,
                       "temperature": 0, "deadline_ms": round(1000 * request["deadline_s"])})
    time.sleep(max(0.0, started + request["arrival_s"] - time.monotonic()))
    begun = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=request["deadline_s"])
    try:
        connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
        reply = connection.getresponse()
        answer = json.loads(reply.read())
        return (reply.status == 200 and answer["usage"]["completion_tokens"] == request["output_tokens"]
                and time.monotonic() - begun <= request["deadline_s"])
    except (OSError, http.client.HTTPException, ValueError):  # also half an answer
        return False
    finally:
        connection.close()


def send(ports, trace):
    """Each request to the next port."""
    started = time.monotonic() + 0.1
    with concurrent.futures.ThreadPoolExecutor(len(trace)) as clients:
        return sum(clients.map(lambda pair: ask(ports[pair[0] % len(ports)], pair[1], pair[0], started), enumerate(trace)))


def serve(model, scheduler, threads):
    return served.Server(served.edgewise(model, "--alias", "any", "--scheduler", scheduler, "--threads", threads, "--no-speculation"),
                         stderr=subprocess.DEVNULL).wait()


def simulate(profile_path, trace, folder, policy):
    path = folder / "trace.json"
    path.write_text(json.dumps(trace))
    return json.loads(edgewise("simulate", profile_path, "--requests", path, "--policy", policy, "--json"))[0]["in_time"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL")
    parser.add_argument("--rate", default="0.7,1.2,2", help="multiples of the machine's capacity by its profile")
    parser.add_argument("--count", type=int, default=100, help="requests of each trace")
    parser.add_argument("--seeds", default="1", help="a trace for each")
    parser.add_argument("--schedulers", default="deadline,fcfs")
    parser.add_argument("--profile", type=pathlib.Path, help="of this machine, from `edgewise profile`; else it is measured")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    threading.stack_size(1 << 20)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    schedulers = args.schedulers.split(",")
    if unknown := set(schedulers) - set(POLICIES):
        parser.error(f"unknown scheduler {', '.join(unknown)}; there are {', '.join(POLICIES)}")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        measured = json.loads(args.profile.read_text()) if args.profile else profile(args.model, args.threads)
        (folder / "profile.json").write_text(json.dumps(measured))
        step = measured["nodes"][0]["variants"][0]["step"]
        print(f"{'scheduler':>16} {'rate':>5} {'offered':>8} {'live':>6} {'simulated':>10} {'off by':>7}")
        for scheduler in schedulers:
            for multiple in map(float, args.rate.split(",")):
                live, simulated = [], []
                for seed in seeds:
                    trace = draw(step, multiple * capacity(step), args.count, seed)
                    with serve(args.model, scheduler, args.threads) as server:
                        send([server.port], draw(step, capacity(step), 20, seed + 1000))  # the server learns its steps' costs
                        live.append(send([server.port], trace))
                    simulated.append(simulate(folder / "profile.json", trace, folder, POLICIES[scheduler]))
                off = sum(simulated) / sum(live) - 1 if sum(live) else float("nan")
                rows.append({"scheduler": scheduler, "rate": multiple, "seeds": seeds, "offered": args.count * len(seeds), "live": sum(live),
                             "simulated": sum(simulated), "live_by_seed": live, "simulated_by_seed": simulated})
                print(f"{scheduler:>16} {multiple:>5g} {args.count * len(seeds):>8} {sum(live):>6} {sum(simulated):>10} {100 * off:>+6.0f}%", flush=True)
    served.record("replay", args.model, {scheduler: {"profile": measured, "rows": [row for row in rows if row["scheduler"] == scheduler]}
                                         for scheduler in schedulers})


if __name__ == "__main__":
    main()
