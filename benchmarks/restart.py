#!/usr/bin/env python3
"""Time to the first token after a restart, with a shared system prompt: computed, from disk, from memory.

For each round: a server without --kv-disk-mib, then one whose pages the page cache has lost, then one whose pages it
holds, each new and asked once; and the last one asked again, which finds the prompt in memory. The pages come from a
server before all that was asked twice. Usage: restart.py [--rounds N] [--tokens N] [--record] MODEL...
"""
import argparse
import http.client
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time

import race
import served


def serve(model, home, *options):
    return served.Server(served.edgewise(model, "--context", "4096", "--alias", "model", *options), env=dict(os.environ, EDGEWISE_HOME=str(home))).wait()


def ask(server, system, question):
    """Seconds to the first token, and the prompt's tokens and how many of them were cached."""
    body = json.dumps({"model": "model", "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 4, "temperature": 0,
                       "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}]})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    begin = time.monotonic()
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    first, usage = None, None
    for line in connection.getresponse():
        if line.startswith(b"data: {"):
            event = json.loads(line[6:])
            if first is None and event["choices"] and event["choices"][0]["delta"].get("content"):
                first = time.monotonic() - begin
            usage = event.get("usage") or usage
    return first, usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"]


def system_prompt(tokens):
    """About so many tokens for the tokenizers at hand (a sentence is 12 to 14)."""
    return " ".join(f"Rule {i}: the answer to question {i * 7} is never {i * 13}." for i in range(tokens // 17))


def forget(folder):
    """Has the page cache lose the files of the folder."""
    os.sync()
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def measure(model, rounds, tokens):
    system = system_prompt(tokens)
    found = {"computed": [], "disk, cold": [], "disk, warm": [], "memory": []}
    with tempfile.TemporaryDirectory(prefix="edgewise-restart-", dir=pathlib.Path.home()) as home:
        keep = ("--kv-disk-mib", "1000")
        with serve(model, home, *keep) as server:
            prompt = ask(server, system, "What is 1 + 1?")[1]
            ask(server, system, "Name a colour.")
            time.sleep(1)
        kv = pathlib.Path(home, "kv")
        pages = [path.stat().st_size for path in kv.iterdir()]
        for number in range(rounds):
            for kind, options in (("computed", ()), ("disk, cold", keep), ("disk, warm", keep)):
                if kind == "disk, cold":
                    forget(kv)
                with serve(model, home, *options) as server:
                    seconds, _, cached = ask(server, system, f"Name animal {number}.")
                    assert (cached > 0) == (kind != "computed"), f"{kind}: {cached} tokens were cached"
                    found[kind].append(seconds)
                    if kind == "disk, warm":
                        found["memory"].append(ask(server, system, f"Name plant {number}.")[0])
    return {"model": pathlib.Path(model).stem, "prompt_tokens": prompt, "cached_tokens": cached, "pages": len(pages), "page_bytes": pages[0], "seconds": found}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=1500)
    parser.add_argument("models", nargs="+", metavar="MODEL", help="a catalogue name or a model file")
    parser.add_argument("--record", action="store_true", help="keep the result in benchmarks/results")
    options = parser.parse_args()
    for model in options.models:
        result = measure(race.model_path(model), options.rounds, options.tokens)
        print(json.dumps(result))
        if options.record:
            served.record("serving", model, {"restart": result})
        computed = statistics.median(result["seconds"]["computed"])
        for kind, seconds in result["seconds"].items():
            print(f"{kind:12} median {statistics.median(seconds):7.3f} s, worst {max(seconds):7.3f} s, {computed / statistics.median(seconds):6.1f} x", file=sys.stderr)


if __name__ == "__main__":
    main()
