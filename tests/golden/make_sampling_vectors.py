#!/usr/bin/env python3
"""Writes sampling_vectors.json: the distributions that the logits warpers of transformers 4.57
(generation/logits_process.py: temperature, top-k, typical, top-p, min-p) leave of random logits. Their definitions
are restated here in plain Python with double precision, sorting everything.

  tests/golden/make_sampling_vectors.py > tests/golden/sampling_vectors.json

Tolerance when compared: the same tokens, weights to 1e-9 relative.
"""
import json
import math
import random
import struct
import sys


def softmax(scores):
    top = max(scores.values())
    weights = {t: math.exp(s - top) for t, s in scores.items()}
    total = math.fsum(weights.values())
    return {t: w / total for t, w in weights.items()}


def top_k(scores, k):
    bar = sorted(scores.values(), reverse=True)[min(k, len(scores)) - 1]
    return {t: s for t, s in scores.items() if s >= bar}


def typical(scores, mass):
    p = softmax(scores)
    entropy = -math.fsum(q * math.log(q) for q in p.values() if q > 0)
    order = sorted(scores, key=lambda t: abs(-math.log(p[t]) - entropy) if p[t] > 0 else math.inf)
    kept, held = {}, 0.0
    for t in order:  # up to and including the one that reaches the mass
        kept[t] = scores[t]
        held += p[t]
        if held >= mass:
            break
    return kept


def top_p(scores, share):
    p = softmax(scores)
    ascending = sorted(scores, key=lambda t: p[t])
    kept, below = {}, 0.0
    for t in ascending:
        below += p[t]
        if below > 1 - share:  # transformers removes while cumulative <= 1 - top_p
            kept[t] = scores[t]
    return kept or {ascending[-1]: scores[ascending[-1]]}


def min_p(scores, part):
    p = softmax(scores)
    bar = part * max(p.values())
    return {t: s for t, s in scores.items() if p[t] >= bar}


def single(x):
    return struct.unpack("f", struct.pack("f", x))[0]


def main():
    rng = random.Random(20241124)
    cases = []
    for i in range(60):
        count = rng.choice([2, 7, 50, 120])
        spread = rng.choice([0.3, 1.5, 4.0])
        logits = [single(rng.gauss(0, spread)) for _ in range(count)]
        if rng.random() < 0.2:
            for t in rng.sample(range(count), count // 3):
                logits[t] = None  # -infinity
        params = {"temperature": rng.choice([0.2, 0.7, 1.0, 1.7])}
        if rng.random() < 0.4:
            params["top_k"] = rng.choice([1, 2, 10, 40, 1000])
        if rng.random() < 0.3:
            params["typical_p"] = rng.choice([0.1, 0.5, 0.9])
        if rng.random() < 0.6:
            params["top_p"] = rng.choice([0.05, 0.5, 0.9, 0.99])
        if rng.random() < 0.4:
            params["min_p"] = rng.choice([0.01, 0.1, 0.5])
        params = {k: single(v) if isinstance(v, float) else v for k, v in params.items()}
        scores = {t: x / params["temperature"] for t, x in enumerate(logits) if x is not None}
        for name, warp in (("top_k", top_k), ("typical_p", typical), ("top_p", top_p), ("min_p", min_p)):
            if name in params:
                scores = warp(scores, params[name])
        cases.append({"params": params, "logits": logits, "kept": {str(t): q for t, q in sorted(softmax(scores).items())}})
    json.dump({"cases": cases}, sys.stdout)
    print()


if __name__ == "__main__":
    main()
