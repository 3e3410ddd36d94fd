"""What the program takes: processor time when idle, memory, time to the first token."""
import json
import pathlib
import time

import program

MEGABYTE = 1_000_000


def test_idle_costs_no_processor_time(server):
    server.chat([{"role": "user", "content": "Hi"}], max_tokens=5)
    time.sleep(1)
    before = server.cpu_seconds()
    time.sleep(3)
    assert server.cpu_seconds() - before <= 0.03  # 1 %: three clock ticks


def test_memory_is_the_file_the_cache_and_little_else():
    with program.serving(program.MODEL, "--context", "2048") as server:
        server.chat([{"role": "user", "content": "word " * 1000}], max_tokens=100)
        resident = server.status("VmHWM")
    shown = program.run_json("show", program.MODEL)
    file_bytes = pathlib.Path(shown["path"]).stat().st_size
    cache_bytes = shown["memory"]["kv_bytes_per_position"] * 2048
    extra = resident - file_bytes - cache_bytes
    print(f"peak resident {resident / 1e6:.0f} MB = file {file_bytes / 1e6:.0f} + cache {cache_bytes / 1e6:.0f} + {extra / 1e6:.0f} MB")
    assert extra <= 150 * MEGABYTE


def test_time_to_the_first_token_is_reported(capsys):
    figures = [program.run_json("run", program.MODEL, "Hello", "--max-tokens", 4) for _ in range(3)]
    seconds = sorted(f["first_token_seconds_since_process_start"] for f in figures)
    with capsys.disabled():
        print(f"\n  process start to first token of SmolLM2: {json.dumps(seconds)} s (aim: under 0.5)")
    assert 0 < seconds[0] < 30
