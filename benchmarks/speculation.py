#!/usr/bin/env python3
"""Speculation against plain decoding: speculation.py [--rounds 3] [--tokens 256] [--temperature 0] [--only edit] [--record] MODEL...

Answers each prompt of benchmarks/prompts with and without speculation in turn, by `edgewise run`, and compares: the texts must
be the same, the speeds of decoding are reported as medians of the rounds' ratios, by kind of prompt; answers of fewer than
16 tokens are left out. Fails when a text differs.
"""
import argparse
import datetime
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("EDGEWISE", ROOT / "build/release/edgewise"))
KINDS = ("edit", "quote", "chat")


def answer(model, prompt, args, *flags):
    command = [str(BINARY), "run", model, "--max-tokens", str(args.tokens), "--temperature", str(args.temperature),
               "--seed", str(args.seed), "--json", *flags, "-"]
    return json.loads(subprocess.run(command, input=prompt, check=True, capture_output=True, text=True).stdout)


def race(model, name, prompt, args):
    rounds = []
    for index in range(args.rounds):
        order = ([], ["--no-speculation"])
        pair = {bool(flags): answer(model, prompt, args, *flags) for flags in (order if index % 2 else reversed(order))}
        fast, plain = pair[False], pair[True]
        if (fast["text"], fast["completion_tokens"]) != (plain["text"], plain["completion_tokens"]):
            sys.exit(f"{model}, {name}: the answers differ\n--- with speculation\n{fast['text']}\n--- without\n{plain['text']}")
        if fast["completion_tokens"] < 16:
            return None
        rounds.append((fast, plain))
    fast = rounds[0][0]
    ratios = [f["decode_tokens_per_s"] / p["decode_tokens_per_s"] for f, p in rounds]
    return {"prompt": name, "tokens": fast["completion_tokens"],
            "drafted": fast["drafted_tokens"], "accepted": fast["accepted_tokens"],
            "tokens_per_s": statistics.median(f["decode_tokens_per_s"] for f, _ in rounds),
            "plain_tokens_per_s": statistics.median(p["decode_tokens_per_s"] for _, p in rounds),
            "ratio": statistics.median(ratios), "ratios": ratios}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=256, help="most tokens of an answer")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="prompts whose names begin so")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/speculation-MODEL.json")
    args = parser.parse_args()
    for model in args.models:
        print(f"{model}\n{'prompt':<16} {'tokens':>6} {'drafted':>8} {'right':>6} {'plain/s':>8} {'with/s':>8} {'ratio':>6}  (each round)")
        results = []
        for kind in KINDS:
            for path in sorted((ROOT / "benchmarks/prompts").glob(f"{kind}-*.txt")):
                if not path.stem.startswith(args.only):
                    continue
                r = race(model, path.stem, path.read_text(), args)
                if r is None:
                    print(f"{path.stem:<16} too short an answer")
                    continue
                results.append(r)
                print(f"{r['prompt']:<16} {r['tokens']:>6} {r['drafted']:>8} {r['accepted']:>6} {r['plain_tokens_per_s']:>8.1f} "
                      f"{r['tokens_per_s']:>8.1f} {r['ratio']:>6.2f}  ({', '.join(f'{x:.2f}' for x in r['ratios'])})", flush=True)
            own = [r["ratio"] for r in results if r["prompt"].startswith(kind)]
            if own:
                print(f"{kind}: geometric mean {statistics.geometric_mean(own):.2f}, worst {min(own):.2f}")
        if args.record:
            name = pathlib.Path(model).name.removesuffix(".gguf")
            record = {"model": name, "date": datetime.date.today().isoformat(), "command": " ".join(sys.argv), "results": results,
                      "commit": subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()}
            (ROOT / f"benchmarks/results/speculation-{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
