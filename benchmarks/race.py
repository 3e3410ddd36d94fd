#!/usr/bin/env python3
"""Runs edgewise, llama.cpp and ik_llama.cpp in turn on the same models: race.py [--rounds 3] [--quick] [--only KIND,...] [--beside N] MODEL...

MODEL: a catalogue name (smollm2, gemma3, qwen1.5b) or a GGUF file. Kinds: prefill, decode, batch (several sequences decode
together after 128-token prompts of their own), serve (a server's time from its start to the first token, and its peak memory
after a prompt of about 3,500 tokens with a context of 4,096). Each peer runs in its two ways (llama.cpp repacking or not,
ik_llama.cpp repacking at run time or not) and the better median of each line counts. 16-bit KV cache everywhere, flash
attention except where it aborts (ik_llama.cpp, several sequences). The order turns from round to round; the ceilings are
edgewise bench's own, the best of all rounds. The peers are built by peers.py when they are missing (--peers: where).

--beside 1: all of it while another program keeps a core busy, as on a machine that has other work; the peers also run with a thread
less each, and the better counts. (The ceilings are measured beside it, too.)

Prints a table; writes benchmarks/results/CPU-KERNELS/race-MODEL.json (race-threads-1-MODEL.json, race-beside-1-MODEL.json) with every
run, from which readme_table.py makes the pages' tables. EDGEWISE_ISA=avx2 races other kernels than the machine's best.
"""
import argparse
import collections
import contextlib
import datetime
import functools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
import typing
import urllib.error
import urllib.request

import peers
import served
from served import BINARY, ROOT

ISA = "EDGEWISE_ISA"
CORES = len(os.sched_getaffinity(0))
KINDS = ("prefill", "decode", "batch", "serve")
GENERATE = 64
BATCH_PROMPT = 128
CONTEXT = 4096
LONG_PROMPT = " ".join(str(n) for n in range(1000, 1700))  # about 3,500 tokens by any of the tokenizers
SERVER_START_SECONDS = 120


class Contender(typing.NamedTuple):
    name: str
    peer: str          # "" is edgewise
    bench_flags: tuple = ()
    server_flags: tuple = ()


CONTENDERS = (Contender("llama.cpp", "llama.cpp", ("--repack", "1")),
              Contender("llama.cpp --no-repack", "llama.cpp", ("--repack", "0"), ("--no-repack",)),
              Contender("ik_llama.cpp", "ik_llama.cpp"),
              Contender("ik_llama.cpp -rtr", "ik_llama.cpp", ("-rtr", "1"), ("-rtr",)),
              Contender("edgewise", ""))


class Sizes(typing.NamedTuple):
    prompts: tuple
    depths: tuple
    sequences: tuple


def run(command, env=None):
    with tempfile.TemporaryDirectory() as folder:  # the peers drop logs where they run
        return subprocess.run([str(c) for c in command], capture_output=True, text=True, env=env, cwd=folder)


def edgewise_json(*args):
    done = run([BINARY, *args, "--json"])
    if done.returncode != 0:
        sys.exit(f"edgewise {' '.join(map(str, args))} failed:\n{done.stderr}")
    return json.loads(done.stdout)


class Peer:
    """The programs of one peer, in one of its ways to run."""

    def __init__(self, folder, contender, model, threads):
        self.bin = peers.binaries(folder, contender.peer)
        self.env = dict(os.environ, LD_LIBRARY_PATH=":".join(str(p) for p in (self.bin, self.bin.parent / "src", self.bin.parent / "ggml/src")))
        self.contender, self.model, self.threads = contender, model, threads

    def bench(self, prompt, generate):
        done = run([self.bin / "llama-bench", "-m", self.model, "-t", self.threads, "-p", prompt, "-n", generate, "-r", 1, "-fa", 1,
                    "-o", "json", *self.contender.bench_flags], self.env)
        return json.loads(done.stdout)[0]["avg_ts"] if done.returncode == 0 else None

    def batch(self, prompt, sequences):
        for attention in ("on", "off"):
            done = run([self.bin / "llama-batched-bench", "-m", self.model, "-t", self.threads, "-tb", self.threads, "-b", 2048, "-ub", 512,
                        "-npp", prompt, "-ntg", GENERATE, "-npl", sequences, "-c", sequences * (prompt + GENERATE) + GENERATE,
                        "-fa", attention, *self.contender.server_flags], self.env)
            for line in (done.stdout + done.stderr).splitlines():
                cells = [cell.strip() for cell in line.split("|")]
                if done.returncode == 0 and len(cells) > 8 and cells[1].isdigit():
                    return float(cells[8])  # tokens generated a second, all sequences together
        return None

    def speeds(self, kinds, sizes):
        if "prefill" in kinds:
            for length in sizes.prompts:
                yield ("prefill", length), self.bench(length, 0)
        if "decode" in kinds:
            for depth in sizes.depths:
                yield ("decode", depth), self.batch(depth, 1) if depth else self.bench(0, GENERATE)
        if "batch" in kinds:
            for count in sizes.sequences:
                yield ("batch", count), self.batch(BATCH_PROMPT, count)

    def server_command(self):
        return [self.bin / "llama-server", "-m", self.model, "-t", self.threads, "-tb", self.threads, "-c", CONTEXT, "-np", 1, "-fa", "on",
                "--host", "127.0.0.1", "--port", served.PORT, *self.contender.server_flags]


class Edgewise:
    def __init__(self, model, threads, ceilings):
        self.model, self.threads, self.ceilings, self.env = model, threads, ceilings, None
        self.shares = collections.defaultdict(list)

    def speeds(self, kinds, sizes):
        comma = lambda values: ",".join(map(str, values))
        wanted = [kind for kind in ("prefill", "decode", "batch") if kind in kinds]
        if not wanted:
            return
        result = edgewise_json("bench", self.model, "--threads", self.threads, "--prompt", comma(sizes.prompts), "--generate", GENERATE,
                               "--depth", comma(sizes.depths), "--sequences", comma(sizes.sequences))
        for name, value in result["ceilings"].items():
            self.ceilings[name] = max(value, self.ceilings.get(name, 0.0))
        for line in result["results"]:
            if line["test"] in wanted:
                key = line["test"], line.get("tokens", line.get("depth", line.get("sequences")))
                self.shares[key].append({name: line[name] for name in ("dram_share", "int8_share") if name in line})
                yield key, line["tokens_per_s"]

    def server_command(self):
        return served.edgewise(self.model, "--alias", "any", "--threads", self.threads, "--context", CONTEXT)


def complete(port, prompt, count):
    body = json.dumps({"model": "any", "prompt": prompt, "max_tokens": count, "temperature": 0}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)


def first_answer_seconds(server):
    """Asks from the moment of the start on, until the server answers: 503 while it loads."""
    started = time.monotonic()
    while time.monotonic() - started < SERVER_START_SECONDS and not server.has_ended():
        try:
            complete(server.port, "Hello", 1)
            return time.monotonic() - started
        except (OSError, urllib.error.URLError):
            time.sleep(0.002)
    return None


def serve(contender):
    """Of a fresh server: seconds to its first token, and its peak memory after a long prompt."""
    with tempfile.TemporaryDirectory() as folder, \
            served.Server(contender.server_command(), stderr=subprocess.DEVNULL, env=contender.env, cwd=folder) as server:
        seconds = first_answer_seconds(server)
        if seconds is None:
            return
        yield ("first token, s", 0), seconds
        usage = complete(server.port, LONG_PROMPT, 16)["usage"]
        if usage["prompt_tokens"] > CONTEXT - 1500:  # else this tokenizer made something else of the prompt
            yield ("peak memory, MB", CONTEXT), server.memory_bytes("VmHWM") / 1e6


@contextlib.contextmanager
def busy_programs(count):
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def smaller_is_better(test):
    return test not in ("prefill", "decode", "batch")


def summarize(runs, shares):
    """One line a test: medians by contender, edgewise against the better peer (over 1 is better), and its shares of the ceilings."""
    lines = []
    for (test, size), by_name in runs.items():
        medians = {name: statistics.median(values) for name, values in by_name.items()}
        rivals = {name: value for name, value in medians.items() if name != "edgewise"}
        line = {"test": test, "size": size, "medians": medians, "runs": by_name}
        if rivals and "edgewise" in medians:
            best = (min if smaller_is_better(test) else max)(rivals, key=rivals.get)
            ratio = medians["edgewise"] / rivals[best]
            line |= {"better_peer": best, "ratio": 1 / ratio if smaller_is_better(test) else ratio}
        if (test, size) in shares:
            line["edgewise_shares"] = {name: statistics.median(run[name] for run in shares[test, size]) for name in shares[test, size][0]}
        lines.append(line)
    return lines


def model_path(name):
    """The file behind a catalogue name: the peers do not know edgewise's store."""
    return pathlib.Path(name).resolve() if pathlib.Path(name).exists() else pathlib.Path(edgewise_json("show", name)["path"])


def command_of(args):
    forced = [f"{ISA}={os.environ[ISA]}"] if os.environ.get(ISA) else []
    only = [] if set(args.only) == set(KINDS) else ["--only", ",".join(args.only)]
    return " ".join([*forced, "benchmarks/race.py", "--rounds", str(args.rounds), *(["--quick"] if args.quick else []), *only,
                     *(["--threads", str(args.threads)] if args.threads != CORES else []),
                     *(["--beside", str(args.beside)] if args.beside else []), *args.models])


def kind_of(args):
    """The name of the results: what differs from all cores of an idle machine."""
    return "race" + f"-threads-{args.threads}" * (args.threads != CORES) + f"-beside-{args.beside}" * (args.beside > 0)


def race(model, args, folder):
    path, ceilings = model_path(model), {}
    sizes = Sizes((512,), (0,), (1, 8)) if args.quick else Sizes((512, 4096), (0, 4096), (1, 2, 4, 8, 16, 32))
    racers = [(c.name, Peer(folder, c, path, args.threads) if c.peer else Edgewise(path, args.threads, ceilings)) for c in CONTENDERS]
    if 0 < args.beside < args.threads:  # a peer whose threads wait for each other may be faster with those that have a core
        fewer = args.threads - args.beside
        racers = [(f"{c.name} -t {fewer}", Peer(folder, c, path, fewer)) for c in CONTENDERS if c.peer] + racers
    runs = collections.defaultdict(functools.partial(collections.defaultdict, list))
    for turn in range(args.rounds):
        first = turn % len(racers)
        for name, racer in racers[first:] + racers[:first]:
            print(f"{model}: round {turn + 1} of {args.rounds}, {name}", file=sys.stderr, flush=True)
            for key, value in racer.speeds(args.only, sizes):
                if value is not None:
                    runs[key][name].append(value)
            if "serve" in args.only:
                for key, value in serve(racer):
                    runs[key][name].append(value)
    machine = edgewise_json("bench", path, "--prompt", 1, "--generate", 1, "--sequences", 1)
    return {"model": model, "cpu": machine["cpu"], "kernels": machine["kernels"], "threads": args.threads,
            "date": datetime.date.today().isoformat(), "command": command_of(args), "rounds": args.rounds, "beside": args.beside, "note": args.note,
            "commit": served.commit(),
            "peers": {peer.name: f"{peer.package} {peer.version}" for peer in peers.PEERS}, "ceilings": ceilings, "tests": summarize(runs, dict(racers)["edgewise"].shares)}


def print_table(result):
    print(f"\n{result['model']}, {result['cpu']}, {result['threads']} threads, medians of {result['rounds']} rounds")
    names = list(dict.fromkeys(name for line in result["tests"] for name in line["medians"]))
    print(f"{'test':>22} " + " ".join(f"{name:>26}" for name in names) + f" {'against the better':>19}")
    for line in result["tests"]:
        cells = " ".join(f"{line['medians'].get(name, float('nan')):>26.2f}" for name in names)
        print(f"{line['test'] + ' ' + str(line['size']):>22} {cells} {line.get('ratio', float('nan')):>17.2f} x", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=CORES)
    parser.add_argument("--quick", action="store_true", help="fewer sizes")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(KINDS), metavar="KIND,...")
    parser.add_argument("--beside", type=int, default=0, metavar="N", help="programs that keep a core busy each")
    parser.add_argument("--note", default="", help="what a reader of the table has to know")
    parser.add_argument("--peers", type=pathlib.Path, default=peers.FOLDER, metavar="FOLDER")
    args = parser.parse_args()
    if unknown := set(args.only) - set(KINDS):
        parser.error(f"unknown kind {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    if args.beside < 0 or args.rounds < 1 or args.threads < 1:
        parser.error("--beside is a number of programs from 0, --rounds and --threads from 1")
    folder = peers.prepare(args.peers.resolve())
    for model in args.models:
        with busy_programs(args.beside):
            result = race(model, args, folder)
        print_table(result)
        target = served.results_file(kind_of(args), model, result["kernels"])
        target.write_text(json.dumps(result, indent=1) + "\n")
        print(f"recorded in {target.relative_to(ROOT)}; benchmarks/readme_table.py puts it into the README")


if __name__ == "__main__":
    main()
