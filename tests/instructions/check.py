#!/usr/bin/env python3
"""Counts the instructions of key kernels and compares them with those recorded: check.py [--record]

Time is too noisy for a test; the number of instructions is the same in every run of the same binary. valgrind's callgrind
counts them, which knows AVX2 but nothing later, so the AVX2 kernels are counted. A case fails that takes over 2 % more than
recorded; one that takes over 10 % less asks for a new record, lest the limit grow slack. --record writes counts.json.
Another compiler or processor makes other code: then nothing can be compared, and it exits with 77, which ./check shows as skipped.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import platform
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RECORD = HERE / "counts.json"
PROGRAM = pathlib.Path(os.environ.get("EDGEWISE_KERNEL_WORK", ROOT / "build/release/benchmarks/kernel_work"))
TABLE = "avx2"
MOST, LEAST = 1.02, 0.90
SKIPPED = 77


def compiler():
    """What the program was built with, as the build directory knows it."""
    cache = (PROGRAM.parent.parent / "CMakeCache.txt").read_text()
    path = re.search(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache, re.MULTILINE).group(1)
    return subprocess.run([path, "--version"], check=True, capture_output=True, text=True).stdout.splitlines()[0]


def count(case):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=edgewise::measured(*", PROGRAM, case]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=dict(os.environ, EDGEWISE_ISA=TABLE))
    found = re.search(r"Collected\s*:\s*(\d+)", done.stderr)
    if done.returncode != 0 or not found or int(found.group(1)) == 0:
        sys.exit(f"{case}: counting failed:\n{done.stderr}")
    return int(found.group(1))


def count_all():
    names = subprocess.run([PROGRAM, "--list"], check=True, capture_output=True, text=True).stdout.splitlines()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(names, pool.map(count, names)))


def compare(now, recorded):
    """The lines that fail."""
    for name in sorted(now.keys() | recorded.keys()):
        if name not in now or name not in recorded:
            yield f"{name}: only {'recorded' if name in recorded else 'counted'}; run check.py --record"
            continue
        ratio = now[name] / recorded[name]
        if ratio > MOST:
            yield f"{name}: {now[name]} instructions, {100 * (ratio - 1):.1f} % more than the {recorded[name]} recorded"
        elif ratio < LEAST:
            yield f"{name}: {now[name]} instructions, {100 * (1 - ratio):.1f} % fewer than recorded: run check.py --record"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    args = parser.parse_args()
    made_by = f"{platform.machine()}, {compiler()}"
    if args.record:
        RECORD.write_text(json.dumps({"compiler": made_by, "counts": count_all()}, indent=1) + "\n")
        return
    recorded = json.loads(RECORD.read_text())
    if recorded["compiler"] != made_by:
        print(f"not compared: built for {made_by}, recorded for {recorded['compiler']}")
        sys.exit(SKIPPED)
    failures = list(compare(count_all(), recorded["counts"]))
    print("\n".join(failures) or f"{len(recorded['counts'])} counts as recorded")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
