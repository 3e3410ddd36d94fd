#!/usr/bin/env python3
"""Puts the measured figures of benchmarks/results into README.md and docs/measured.md: readme_table.py [--check]

README.md has what all cores of an idle machine do with its best kernels, docs/measured.md the rest. --check changes nothing and fails when
a page shows other figures than the files hold.
"""
import json
import pathlib
import statistics
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks/results"
BEGIN, END = "<!-- measured: benchmarks/readme_table.py -->", "<!-- /measured -->"
ORDER = ("smollm2", "gemma3", "qwen1.5b")
FORCED = "EDGEWISE_ISA="
KINDS = ("race", "race-threads-1", "race-beside-1")


def machines():
    """A folder for each kind of CPU met (served.results_file)."""
    return sorted(folder.name for folder in RESULTS.iterdir() if folder.is_dir())


def read(kind, model, machine=""):
    path = RESULTS / machine / f"{kind}-{model}.json"
    return json.loads(path.read_text()) if path.exists() else None


def speed(bench, test, size):
    sizes = ("tokens", "depth", "sequences")
    return next((r for r in bench["results"] if r["test"] == test and size in (r.get(name) for name in sizes)), None)


def speed_table(machine):
    benches = [b for b in (read("bench", m, machine) for m in ORDER) if b]
    if not benches:
        return []
    rows = ["",
            "| model | prefill, 512 tokens | decode | of the DRAM ceiling | 8 sequences together | start to first token | peak memory |",
            "| --- | --- | --- | --- | --- | --- | --- |"]
    for bench in benches:
        prefill, decode, batch = speed(bench, "prefill", 512), speed(bench, "decode", 0), speed(bench, "batch", 8)
        rows.append(f"| {bench['model']} | {prefill['tokens_per_s']:.0f} t/s | {decode['tokens_per_s']:.1f} t/s | {100 * decode['dram_share']:.0f} % "
                    f"| {batch['tokens_per_s']:.0f} t/s | {bench['first_token_seconds_since_process_start']['median']:.2f} s "
                    f"| {bench['peak_rss_bytes'] / 1e6:.0f} MB |")
    last = benches[-1]
    quick = "" if all(speed(b, "prefill", 4096) for b in benches) else "--quick "
    rows.append(f"\n{last['cpu']} ({machine}), {last['threads']} threads; ceilings measured beside: "
                f"{last['ceilings']['dram_gb_per_s']:.1f} GB/s, {last['ceilings']['int8_gmac_per_s']:.0f} G int8 multiply-adds/s. "
                f"{min(b['date'] for b in benches)}, made by `benchmarks/measure.py {quick}{' '.join(b['model'] for b in benches)}`.")
    return rows


RACE_TITLES = {"prefill": "prefill, {} tokens", "decode": "decode at {}", "batch": "{} sequences together",
               "first token, s": "server: start to first token", "peak memory, MB": "server: peak memory, context {}"}


def races_of(machine, kind="race"):
    return [r for r in (read(kind, m, machine) for m in ORDER) if r]


def is_forced(machine):
    """Whether these kernels are not the best that the machine has."""
    return any(r["command"].startswith(FORCED) for r in races_of(machine))


SHARES = (("prefill", "int8_share", "share of int8 in prefill, {} tokens"), ("decode", "dram_share", "share of DRAM in decode at {}"))


def race_table(machine, kind="race"):
    races = races_of(machine, kind)
    if not races:
        return []
    busy = races[0].get("beside", 0)
    beside = f", beside {busy} program{'s' * (busy > 1)} that keep{'s' * (busy == 1)} a core busy" if busy else ""
    beside += ", all with 1 thread" * (races[0]["threads"] == 1)
    beside += f", edgewise held to {races[0]['kernels']}, the peers not" * races[0]["command"].startswith(FORCED)
    rows = ["", f"| against the better of llama.cpp and ik_llama.cpp{beside} (over 1 is better) | " + " | ".join(r["model"] for r in races) + " |",
            "| --- |" + " --- |" * len(races)]
    keys = list(dict.fromkeys((line["test"], line["size"]) for r in races for line in r["tests"]))
    for test, size in keys:
        ratios = [next((line["ratio"] for line in r["tests"] if (line["test"], line["size"]) == (test, size) and "ratio" in line), None) for r in races]
        rows.append(f"| {RACE_TITLES[test].format(size)} | " + " | ".join(f"{ratio:.2f}" if ratio else "" for ratio in ratios) + " |")
    for test, share, title in SHARES:
        for size in dict.fromkeys(size for name, size in keys if name == test):
            shares = [next((line["edgewise_shares"][share] for line in r["tests"] if (line["test"], line["size"]) == (test, size)
                            and share in line.get("edgewise_shares", {})), None) for r in races]
            if any(shares):
                rows.append(f"| {title.format(size)} | " + " | ".join(f"{100 * value:.0f} %" if value else "" for value in shares) + " |")
    last = races[-1]
    note = " ".join(dict.fromkeys(r["note"] for r in races if r.get("note")))
    rounds = "One round" if last["rounds"] == 1 else f"Medians of {last['rounds']} rounds in turn"
    rows.append(f"\n{rounds}, {last['cpu']} ({machine}), {last['threads']} thread{'s' * (last['threads'] > 1)}; {', '.join(last['peers'].values())}, each in the better of its "
                f"two ways. {min(r['date'] for r in races)}, made by `benchmarks/race.py` ({', '.join(sorted({r['command'] for r in races}))}).{' ' * bool(note)}{note}")
    return rows


def serving_table(machine):
    """What clients of a server see: a column for each model, whatever of it was measured."""
    found = {model: read("serving", model, machine) for model in ORDER}
    found = {model: kinds for model, kinds in found.items() if kinds}
    if not found:
        return []

    def restart(kind):
        seconds = kind["seconds"]
        return f"{statistics.median(seconds['computed']):.2f} s to {statistics.median(seconds['disk, cold']):.2f} s"

    lines = {"gap between tokens while 2,000-token prompts arrive, 99th percentile over median": ("gaps", lambda k: f"{k['with_prompts']['p99_over_p50']:.2f}"),
             "first token with a shared system prompt of 1,500 tokens, times sooner": ("prefix", lambda k: f"{k['times_sooner']:.1f}"),
             "the same after a restart, computed and from disk": ("restart", restart),
             "first token with a changed line before 1,400 tokens, approximate reuse, times sooner: median (worst)":
                 ("changed", lambda k: f"{k['times_sooner']['median']:.1f} ({k['times_sooner']['worst']:.1f})"),
             "32 clients in a closed loop, tokens/s": ("closed", lambda k: f"{k['tokens_per_s']:.0f}"),
             "on a link of 256 kbit/s, urgent requests in time without and with --downlink-kbps":
                 ("link", lambda k: f"{k['without_limit']['urgent_in_time']}, {k['with_limit']['urgent_in_time']} of {k['with_limit']['urgent']}")}
    rows = ["", f"| what clients see | {' | '.join(found)} |", "| --- |" + " --- |" * len(found)]
    for title, (kind, shown) in lines.items():
        cells = [shown(kinds[kind]) if kind in kinds else "" for kinds in found.values()]
        if any(cells):
            rows.append(f"| {title} | {' | '.join(cells)} |")
    results = [result for kinds in found.values() for result in kinds.values()]
    commands = ", ".join(sorted({result["command"] for result in results}))
    rows.append(f"\n{results[-1]['cpu']} ({machine}), {results[-1]['threads']} threads, {min(r['date'] for r in results)}: {commands}. "
                "The client runs on the same processors.")
    return rows


def speculation_table(machine):
    found = {model: read("speculation", model, machine) for model in ORDER}
    found = {model: kinds["look-up"] for model, kinds in found.items() if kinds and "look-up" in kinds}
    if not found:
        return []
    rows = ["", f"| guesses from the text, times plain decoding: geometric mean (worst prompt) | {' | '.join(found)} |", "| --- |" + " --- |" * len(found)]
    for kind, title in (("edit", "code editing"), ("quote", "quoting summaries"), ("chat", "free chat")):
        cells = [result["kinds"].get(f"{kind}, look-up") for result in found.values()]
        rows.append(f"| {title} | " + " | ".join(f"{cell['geometric_mean']:.2f} ({cell['worst']:.2f})" if cell else "" for cell in cells) + " |")
    last = list(found.values())[-1]
    rows.append(f"\n{last['cpu']} ({machine}), {last['threads']} threads, {min(r['date'] for r in found.values())}: "
                f"{', '.join(sorted({r['command'] for r in found.values()}))}.")
    return rows


def accuracy_table():
    results = [a for a in (read("accuracy", m) for m in ORDER) if a]
    if not results:
        return []
    rows = ["", "| model | mean KL(oracle \\|\\| edgewise) | mean KL(oracle \\|\\| llama.cpp) | difference, 95 % | perplexity: oracle, edgewise, llama.cpp |",
            "| --- | --- | --- | --- | --- |"]
    for result in results:
        sides, relative = result["sides"], result["kl_relative_to_llama"]
        rows.append(f"| {result['model']} | {sides['engine']['kl_mean']:.6f} | {sides['llama.cpp']['kl_mean']:.6f} "
                    f"| {100 * relative['95'][0]:+.0f} to {100 * relative['95'][1]:+.0f} % "
                    f"| {sides['oracle']['perplexity']:.3f}, {sides['engine']['perplexity']:.3f}, {sides['llama.cpp']['perplexity']:.3f} |")
    rows.append(f"\nThe oracle is the same model with all-float weights and sums in double; {results[0]['positions']} next-token distributions in windows of "
                f"{results[0]['context']}, f16 KV cache. {min(r['date'] for r in results)}, made by "
                f"`tests/accuracy/compare_kl.py --llama --record {' '.join(r['model'] for r in results)}`.")
    return rows


def pages():
    best = [machine for machine in machines() if not is_forced(machine)]
    forced = [machine for machine in machines() if is_forced(machine)]
    other = [kind for kind in KINDS if kind != "race"]
    yield ROOT / "README.md", [row for machine in best for row in speed_table(machine) + race_table(machine)] + accuracy_table()
    yield ROOT / "docs/measured.md", [row for machine in forced for row in race_table(machine)] + [
        row for kind in other for machine in machines() for row in race_table(machine, kind)] + [
        row for machine in machines() for row in serving_table(machine) + speculation_table(machine)]


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__.strip())
    for page, rows in pages():
        text = page.read_text()
        head, rest = text.split(BEGIN)
        shown, tail = rest.split(END)
        made = "\n".join(rows) + "\n"
        if sys.argv[1:] == ["--check"]:
            if shown != made:
                sys.exit(f"{page.relative_to(ROOT)}'s figures are not those of benchmarks/results: run benchmarks/readme_table.py")
        else:
            page.write_text(head + BEGIN + made + END + tail)


if __name__ == "__main__":
    main()
