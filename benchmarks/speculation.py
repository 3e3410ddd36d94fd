#!/usr/bin/env python3
"""Speculation against plain decoding: speculation.py [--rounds 3] [--tokens 256] [--temperature 0] [--only edit] [--draft SMALL] [--record] MODEL...

Answers each prompt of benchmarks/prompts with and without speculation in turn, by `edgewise run`, and compares: the texts must
be the same, the speeds of decoding are reported as medians of the rounds' ratios, by kind of prompt; answers of fewer than
16 tokens are left out. With --draft a third answer has that draft model beside the look-up. Fails when a text differs.
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

import served
from served import BINARY, ROOT

KINDS = ("edit", "quote", "chat")


def answer(model, prompt, args, *flags):
    command = [str(BINARY), "run", model, "--max-tokens", str(args.tokens), "--temperature", str(args.temperature),
               "--seed", str(args.seed), "--json", *flags, "-"]
    return json.loads(subprocess.run(command, input=prompt, check=True, capture_output=True, text=True).stdout)


def race(model, name, prompt, args):
    ways = {"plain": ["--no-speculation"], "look-up": []} | ({"draft": ["--draft", args.draft]} if args.draft else {})
    rounds = []
    for index in range(args.rounds):
        order = list(ways) if index % 2 else list(reversed(ways))
        answers = {way: answer(model, prompt, args, *ways[way]) for way in order}
        plain = answers["plain"]
        for way, other in answers.items():
            if (other["text"], other["completion_tokens"]) != (plain["text"], plain["completion_tokens"]):
                sys.exit(f"{model}, {name}: the answers differ\n--- {way}\n{other['text']}\n--- plain\n{plain['text']}")
        if plain["completion_tokens"] < 16:
            return None
        rounds.append(answers)

    def speeds(way):
        return [r[way]["decode_tokens_per_s"] for r in rounds]

    fast = rounds[0]["look-up"]
    ratios = [fast / plain for fast, plain in zip(speeds("look-up"), speeds("plain"))]
    result = {"prompt": name, "tokens": fast["completion_tokens"],
              "drafted": fast["drafted_tokens"], "accepted": fast["accepted_tokens"],
              "tokens_per_s": statistics.median(speeds("look-up")), "plain_tokens_per_s": statistics.median(speeds("plain")),
              "ratio": statistics.median(ratios), "ratios": ratios}
    if args.draft:
        drafted = rounds[0]["draft"]
        ratios = [fast / plain for fast, plain in zip(speeds("draft"), speeds("plain"))]
        result |= {"model_drafted": drafted["model_drafted_tokens"], "model_accepted": drafted["model_accepted_tokens"],
                   "draft_ratio": statistics.median(ratios), "draft_ratios": ratios}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=256, help="most tokens of an answer")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="prompts whose names begin so")
    parser.add_argument("--draft", help="a draft model of the same vocabulary")
    parser.add_argument("--record", action="store_true", help="keep the result in benchmarks/results")
    args = parser.parse_args()
    for model in args.models:
        print(f"{model}\n{'prompt':<16} {'tokens':>6} {'drafted':>8} {'right':>6} {'plain/s':>8} {'with/s':>8} {'ratio':>6}  (each round)")
        results, kinds = [], {}
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
                if args.draft:
                    print(f"{'  with draft':<16} {'':>6} {r['model_drafted']:>8} {r['model_accepted']:>6} {'':>8} {'':>8} "
                          f"{r['draft_ratio']:>6.2f}  ({', '.join(f'{x:.2f}' for x in r['draft_ratios'])})", flush=True)
            for field, words in (("ratio", "look-up"), ("draft_ratio", "with the draft model")):
                own = [r[field] for r in results if r["prompt"].startswith(kind) and field in r]
                if own:
                    kinds[f"{kind}, {words}"] = {"geometric_mean": statistics.geometric_mean(own), "worst": min(own)}
                    print(f"{kind}, {words}: geometric mean {statistics.geometric_mean(own):.2f}, worst {min(own):.2f}")
        if args.record:
            served.record("speculation", model, {args.draft and pathlib.Path(args.draft).stem or "look-up": {"kinds": kinds, "prompts": results}})


if __name__ == "__main__":
    main()
