#!/usr/bin/env python3
"""How far the engine's next-token distributions are from the all-float oracle's, and llama.cpp's from the same.

compare_kl.py [--llama] [--kv-type f16] [--tokens 4096] [--context 512] [--record] [--bound] MODEL...     (catalogue names: smollm2 gemma3 qwen1.5b)

Runs `edgewise perplexity --logits-out -` twice, as engine and as --oracle, over the same windows of text.txt, and with
--llama also llama.cpp (llama-cpp-python, pinned below) on the token ids that edgewise fed; nothing is kept on disk.
16-bit KV cache on all sides; with --kv-type q8 the engine's is of 8 bits. Stream of edgewise (apps/edgewise/perplexity.cc): one line of JSON, then for each window its
token ids (int32) and rows_per_window rows of vocab f32 logits, from first_position on.

Prints a table. --record writes benchmarks/results/accuracy-MODEL.json (-q8 behind MODEL for that type); --bound compares with the figure recorded in
bounds.json and fails when ours is worse by more than its margin; with --llama it fails when the criteria are not met:
paired KL difference (95 % interval) not above +2 %, perplexity within 0.2 % of the oracle's or no further than llama.cpp's.

Environment: EDGEWISE (the binary), LLAMA_CPP_LIB_PATH (a folder with libllama.so of the same version: skips its build).
"""
import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys

import numpy

import divergence

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TEXT = HERE / "text.txt"
LLAMA_PACKAGE = "llama-cpp-python==0.3.36"
BINARY = pathlib.Path(os.environ.get("EDGEWISE", ROOT / "build/release/edgewise"))
MAX_RELATIVE_KL = 0.02
MAX_RELATIVE_PERPLEXITY = 0.002


def read_exactly(stream, size, who):
    data = stream.read(size)
    if len(data) != size:
        sys.exit(f"{who} ended early: {len(data)} of {size} bytes")
    return data


class EdgewiseLogits:
    """One `edgewise perplexity` process whose logits are read window by window."""

    def __init__(self, model, args, oracle):
        self.who = "oracle" if oracle else "engine"
        command = [BINARY, "perplexity", model, TEXT, "--context", args.context, "--chunks", args.tokens // args.context,
                   "--all-positions", "--logits-out", "-"] + (["--oracle"] if oracle else ["--kv-type", args.kv_type])
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"{self.who}: no logits came (exit {self.process.wait()})")
        self.header = json.loads(line)

    def next_window(self):
        tokens = numpy.frombuffer(read_exactly(self.process.stdout, 4 * self.header["context"], self.who), "<i4")
        rows, vocab = self.header["rows_per_window"], self.header["vocab"]
        logits = numpy.frombuffer(read_exactly(self.process.stdout, 4 * rows * vocab, self.who), "<f4")
        return tokens, logits.reshape(rows, vocab)

    def finish(self):
        if self.process.stdout.read(1) or self.process.wait():
            sys.exit(f"{self.who}: more than the promised windows, or exit status {self.process.wait()}")


class LlamaLogits:
    """llama_logits.py in the venv of the pinned package."""

    def __init__(self, path, context, threads):
        command = [str(c) for c in (llama_python(), HERE / "llama_logits.py", path, context, threads)]
        if subprocess.run(command, input=bytes(4 * context), stdout=subprocess.DEVNULL).returncode < 0:  # died of a signal
            command.append("plain")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"llama.cpp: no logits came (exit {self.process.wait()})")
        self.settings = json.loads(line)

    def window(self, tokens):
        self.process.stdin.write(tokens.tobytes())
        self.process.stdin.flush()
        count, vocab = len(tokens), self.settings["vocab"]
        return numpy.frombuffer(read_exactly(self.process.stdout, 4 * count * vocab, "llama.cpp"), "<f4").reshape(count, vocab)

    def finish(self):
        self.process.stdin.close()
        self.process.wait()


def llama_python():
    """The interpreter of a cached venv with the package; compiled once, about 15 minutes on 2 cores."""
    prebuilt = os.environ.get("LLAMA_CPP_LIB_PATH")
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "edgewise"
    venv = cache / (LLAMA_PACKAGE.replace("==", "-") + ("-prebuilt" if prebuilt else ""))
    python = venv / "bin/python"
    if (venv / "complete").exists():
        return python
    print(f"building {LLAMA_PACKAGE} into {venv}, once", file=sys.stderr, flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True)
    flags = "-DLLAMA_BUILD=OFF -DLLAVA_BUILD=OFF" if prebuilt else "-DLLAVA_BUILD=OFF -DGGML_NATIVE=ON"
    # Not from pip's cache: it does not tell a wheel built with the library from one built without.
    subprocess.run([python, "-m", "pip", "install", "-q", "--no-cache-dir", "--no-binary", "llama-cpp-python", LLAMA_PACKAGE],
                   check=True, env=dict(os.environ, CMAKE_ARGS=flags))
    subprocess.run([python, "-c", "import llama_cpp"], check=True)
    (venv / "complete").touch()
    return python


def model_path(name):
    """The file behind a catalogue name: llama.cpp does not know our store."""
    if pathlib.Path(name).exists():
        return pathlib.Path(name)
    shown = subprocess.run([str(BINARY), "show", name, "--json"], check=True, capture_output=True, text=True)
    return pathlib.Path(json.loads(shown.stdout)["path"])


def perplexity(log_rows, tokens, first, context):
    """Negative log-likelihoods of the second half of a window, as llama.cpp's tool counts."""
    positions = numpy.arange(context // 2, context - 1)
    return -log_rows[positions - first, tokens[positions + 1]]


def evaluate(model, args):
    engine = EdgewiseLogits(model, args, oracle=False)
    oracle = EdgewiseLogits(model, args, oracle=True)
    llama = LlamaLogits(model_path(model), args.context, args.threads) if args.llama else None
    first, context = engine.header["first_position"], engine.header["context"]
    divergences = {"engine": [], "llama.cpp": []}
    losses = {"oracle": [], "engine": [], "llama.cpp": []}
    same_top = {"engine": 0, "llama.cpp": 0}
    positions = 0
    for window in range(engine.header["windows"]):
        tokens, rows = engine.next_window()
        oracle_tokens, oracle_rows = oracle.next_window()
        if not numpy.array_equal(tokens, oracle_tokens):
            sys.exit("engine and oracle were fed different tokens")
        sides = {"engine": rows}
        if llama:
            sides["llama.cpp"] = llama.window(tokens)[first:first + len(rows)]
        truth = divergence.log_softmax(oracle_rows)
        losses["oracle"].append(perplexity(truth, tokens, first, context))
        positions += len(rows)
        for who, logits in sides.items():
            own = divergence.log_softmax(logits)
            divergences[who].append(divergence.kl(truth, own))
            losses[who].append(perplexity(own, tokens, first, context))
            same_top[who] += int((own.argmax(axis=1) == truth.argmax(axis=1)).sum())
        if sys.stderr.isatty():
            print(f"\r{model}: window {window + 1} of {engine.header['windows']}", end="", file=sys.stderr, flush=True)
    for side in (engine, oracle, llama):
        if side:
            side.finish()
    return summarize(model, args, positions, divergences, losses, same_top, llama)


def summarize(model, args, positions, divergences, losses, same_top, llama):
    result = {"model": model, "text": TEXT.name, "tokens": args.tokens, "context": args.context, "positions": positions,
              "date": datetime.date.today().isoformat(), "cpu": cpu_name(), "kv_cache": args.kv_type, "sides": {}}
    for who, values in losses.items():
        if values:
            result["sides"][who] = {"perplexity": float(numpy.exp(numpy.concatenate(values).mean()))}
    for who, values in divergences.items():
        if values:
            mean, interval = divergence.mean_interval(values)
            flat = numpy.concatenate(values)
            result["sides"][who] |= {"kl_mean": float(mean), "kl_95": [float(v) for v in interval],
                                     "kl_p99": float(numpy.quantile(flat, 0.99)), "same_top": same_top[who] / positions}
    if llama:
        ratio, interval = divergence.paired_difference(divergences["engine"], divergences["llama.cpp"])
        result["kl_relative_to_llama"] = {"mean": float(ratio), "95": [float(v) for v in interval]}
        result["llama.cpp"] = {"package": LLAMA_PACKAGE, **llama.settings}
    return result


def cpu_name():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def print_table(result):
    print(f"\n{result['model']}: {result['positions']} next-token distributions in windows of {result['context']}, {result['kv_cache']} KV cache\n")
    print("| side | mean KL(oracle \\|\\| side) | 95 % interval | 99th percentile | same top token | perplexity |")
    print("| --- | --- | --- | --- | --- | --- |")
    for who, side in result["sides"].items():
        if "kl_mean" in side:
            print(f"| {who} | {side['kl_mean']:.6f} | {side['kl_95'][0]:.6f} to {side['kl_95'][1]:.6f} | {side['kl_p99']:.5f} "
                  f"| {100 * side['same_top']:.2f} % | {side['perplexity']:.4f} |")
        else:
            print(f"| {who} | 0 | | | | {side['perplexity']:.4f} |")
    if "kl_relative_to_llama" in result:
        relative = result["kl_relative_to_llama"]
        print(f"\nengine against llama.cpp, paired: {100 * relative['mean']:+.1f} % "
              f"(95 %: {100 * relative['95'][0]:+.1f} to {100 * relative['95'][1]:+.1f} %)")


def broken_criteria(result, with_bound):
    sides = result["sides"]
    oracle_ppl = sides["oracle"]["perplexity"]
    off = abs(sides["engine"]["perplexity"] / oracle_ppl - 1)
    allowed = MAX_RELATIVE_PERPLEXITY
    if "llama.cpp" in sides:
        allowed = max(allowed, abs(sides["llama.cpp"]["perplexity"] / oracle_ppl - 1))
        if result["kl_relative_to_llama"]["95"][1] > MAX_RELATIVE_KL:
            yield f"KL is not shown to be within +{100 * MAX_RELATIVE_KL:.0f} % of llama.cpp's"
    if (with_bound or "llama.cpp" in sides) and off > allowed and result["positions"] >= 4096:
        yield f"perplexity is {100 * off:.3f} % from the oracle's; allowed: {100 * allowed:.3f} %"
    if with_bound:
        recorded = json.loads((HERE / "bounds.json").read_text())
        key = f"{result['model']} {result['tokens']} tokens, context {result['context']}"
        if key not in recorded["kl_mean"]:
            yield f"bounds.json has no figure for '{key}'"
        elif sides["engine"]["kl_mean"] > recorded["kl_mean"][key] * recorded["margin"]:
            yield f"mean KL {sides['engine']['kl_mean']:.6f} is above the recorded {recorded['kl_mean'][key]:.6f} x {recorded['margin']}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["smollm2"], metavar="MODEL")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--context", type=int, default=512)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of llama.cpp")
    parser.add_argument("--kv-type", default="f16", help="how the engine stores keys and values: f16 or q8")
    parser.add_argument("--llama", action="store_true", help="run llama.cpp too, and require its criteria")
    parser.add_argument("--bound", action="store_true", help="require the figure of bounds.json")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/accuracy-MODEL.json")
    args = parser.parse_args()
    if args.tokens % args.context:
        parser.error("--tokens must be a multiple of --context")
    failed = 0
    for model in args.models:
        result = evaluate(model, args)
        print_table(result)
        broken = list(broken_criteria(result, args.bound))
        failed += bool(broken)
        for reason in broken:
            print(f"FAILED: {reason}")
        if args.record:
            of_type = "" if args.kv_type == "f16" else f"-{args.kv_type}"
            target = ROOT / f"benchmarks/results/accuracy-{pathlib.Path(model).name.removesuffix('.gguf')}{of_type}.json"
            target.write_text(json.dumps(result | {"failed": broken}, indent=1) + "\n")
            print(f"recorded in {target.relative_to(ROOT)}")
    print(f"{len(args.models) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
