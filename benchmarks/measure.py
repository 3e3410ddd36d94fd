#!/usr/bin/env python3
"""Measures this build on this machine: measure.py [--rounds 3] [--quick] MODEL...     (catalogue names; default: smollm2)

Speeds by `edgewise bench`, start-up by `edgewise run`; the median of the rounds, the ceilings' best. Writes
benchmarks/results/CPU-KERNELS/bench-MODEL.json, from which readme_table.py makes the README's table.
"""
import argparse
import datetime
import json
import statistics
import subprocess

import served
from served import BINARY, ROOT


def edgewise(*args):
    done = subprocess.run([str(BINARY), *map(str, args), "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def key(result):
    return result["test"], result.get("tokens", result.get("depth", result.get("sequences")))


def measure(model, args):
    prompt, depth, sequences = ("512", "0", "1,8") if args.quick else ("512,4096", "0,4096", "1,2,4,8,16,32")
    rounds = [edgewise("bench", model, "--prompt", prompt, "--generate", 64, "--depth", depth, "--sequences", sequences)
              for _ in range(args.rounds)]
    results = []
    for first in rounds[0]["results"]:
        same = [r for one in rounds for r in one["results"] if key(r) == key(first)]
        results.append(first | {name: statistics.median(r[name] for r in same) for name, value in first.items() if isinstance(value, float)}
                       | {"rounds_tokens_per_s": [r["tokens_per_s"] for r in same]})
    starts = [edgewise("run", model, "Hello", "--max-tokens", 4)["first_token_seconds_since_process_start"] for _ in range(5)]
    return rounds[0] | {
        "results": results, "model": model, "date": datetime.date.today().isoformat(), "rounds": args.rounds,
        "ceilings": {name: max(r["ceilings"][name] for r in rounds) for name in rounds[0]["ceilings"]},
        "peak_rss_bytes": max(r["peak_rss_bytes"] for r in rounds),
        "first_token_seconds_since_process_start": {"median": statistics.median(starts), "all": starts},
        "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["smollm2"], metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="fewer sizes")
    args = parser.parse_args()
    for model in args.models:
        result = measure(model, args)
        target = served.results_file("bench", model, result["kernels"])
        target.write_text(json.dumps(result, indent=1) + "\n")
        print(f"recorded in {target.relative_to(ROOT)}; benchmarks/readme_table.py puts it into the README")


if __name__ == "__main__":
    main()
