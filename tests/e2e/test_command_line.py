"""The commands as a person or a script types them."""
import json
import os
import pathlib
import re
import resource
import shutil
import struct
import subprocess
import tempfile

import pytest

import program

COMMANDS = ("run", "serve", "pull", "list", "rm", "show", "tokenize", "bench", "perplexity")


def test_help_names_every_command_and_every_command_has_examples():
    overview = program.run("--help")
    assert overview.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"^\s+{command}\b", overview.stdout, re.MULTILINE)
        own = program.run(command, "--help")
        assert own.returncode == 0 and "Examples:" in own.stdout and f"edgewise {command}" in own.stdout


def test_version():
    assert re.match(r"edgewise \d+\.\d+\.\d+", program.run("--version").stdout)


@pytest.mark.parametrize("args, status", [
    ((), 2), (("fly",), 2), (("run",), 2), (("run", program.MODEL, "x", "--no-such-option"), 2), (("run", program.MODEL, "x", "--temperature", "hot"), 2),
    (("run", program.MODEL, "x", "--temperature", "-1"), 2), (("run", "no-such-model", "x"), 3), (("run", "/no/such/file.gguf", "x"), 3),
    (("run", program.ROOT / "README.md", "x"), 4), (("show", "/dev/null"), 2), (("rm", "no-such-model"), 3), (("pull", "no-such-model"), 3),
    (("perplexity", program.MODEL, "/no/such/file"), 3), (("tokenize", "no-such-model", "x"), 3)])
def test_exit_codes(args, status):
    done = program.run(*args)
    assert done.returncode == status, done.stderr
    assert done.stdout == "" and done.stderr.strip()
    assert "Traceback" not in done.stderr and "terminate called" not in done.stderr


def test_run_answers_an_argument_and_standard_input_alike():
    options = ("--temperature", "0", "--max-tokens", "16")
    question = "What is the capital of France? Answer in one sentence."
    by_argument = program.run("run", program.MODEL, question, *options)
    by_input = program.run("run", program.MODEL, *options, stdin=question)
    assert by_argument.returncode == 0 and "Paris" in by_argument.stdout
    assert by_argument.stdout == by_input.stdout
    assert by_argument.stderr == "", "quiet in a pipe"


def test_run_with_stats_keeps_standard_output_clean():
    plain = program.run("run", program.MODEL, "Hi", "--temperature", "0", "--max-tokens", "8")
    stats = program.run("run", program.MODEL, "Hi", "--temperature", "0", "--max-tokens", "8", "--stats")
    assert stats.stdout == plain.stdout and "tokens/s" in stats.stderr


def test_run_json_and_seed():
    first, second, third = (program.run_json("run", program.MODEL, "Tell a story.", "--max-tokens", 20, "--seed", s) for s in (5, 5, 6))
    assert first["text"] == second["text"] != third["text"]
    assert first["completion_tokens"] == 20 and first["finish"] == "length"


def test_run_with_a_schema(tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object", "properties": {"n": {"type": "integer", "maximum": 99, "minimum": 0}}, "required": ["n"], "additionalProperties": false}')
    done = program.run("run", program.MODEL, "Give a number.", "--json-schema", schema, "--temperature", "0", "--max-tokens", "60")
    assert list(json.loads(done.stdout)) == ["n"]


def test_run_longer_than_the_context_is_an_error():
    done = program.run("run", program.MODEL, "word " * 3000, "--context", "512")
    assert done.returncode in (2, 5) and "512" in done.stderr and done.stdout == ""


def test_chat_template_file(tmp_path):
    template = tmp_path / "template.jinja"
    template.write_text("{{ messages[-1]['content'] }}")
    raw = program.run("run", program.MODEL, "One, two, three,", "--raw", "--temperature", "0", "--max-tokens", "6")
    templated = program.run("run", program.MODEL, "One, two, three,", "--chat-template", template, "--temperature", "0", "--max-tokens", "6")
    assert raw.returncode == 0 and raw.stdout == templated.stdout
    template.write_text("{% for %}")
    broken = program.run("run", program.MODEL, "x", "--chat-template", template)
    assert broken.returncode != 0 and "template" in broken.stderr


def test_show_and_list():
    shown = program.run_json("show", program.MODEL)
    assert shown["metadata"] and shown["tensors"] and shown["memory"]["weight_bytes"] > 50_000_000
    stored = program.run_json("list")
    assert program.MODEL in [m["name"] for m in stored]
    assert {"smollm2", "gemma3", "qwen1.5b", "minilm"} <= {m["name"] for m in program.run_json("list", "--catalogue")}


def test_tokenize_round_trip():
    ids = program.run("tokenize", program.MODEL, "Grüße aus Köln 🙂")
    assert ids.returncode == 0 and ids.stdout.strip()
    assert program.run_json("tokenize", program.MODEL, "Grüße")


def test_perplexity_counts_like_llama_cpp():
    text = program.ROOT / "tests/accuracy/text.txt"
    found = program.run_json("perplexity", program.MODEL, text, "--context", 128, "--chunks", 2)
    assert found["counted_tokens"] == 2 * (128 // 2 - 1) and 1 < found["perplexity"] < 100


def test_bench_reports_speeds_beside_ceilings():
    found = program.run_json("bench", program.MODEL, "--prompt", "64", "--generate", 8, "--depth", "0", "--sequences", "1,2", timeout=600)
    assert found["ceilings"] and found["peak_rss_bytes"] > 0
    assert {r["test"] for r in found["results"]} >= {"prefill", "decode", "batch"}
    assert all(r["tokens_per_s"] > 0 for r in found["results"])


def test_store_is_private_to_its_home_and_rm_frees_it(tmp_path):
    home = {"EDGEWISE_HOME": str(tmp_path)}
    stored = program.run_json("show", program.MODEL)["path"]
    assert program.run_json("list", env=home) == []
    pulled = program.run("pull", stored, env=home)
    assert pulled.returncode == 0, pulled.stderr
    (model,) = program.run_json("list", env=home)
    assert pathlib.Path(model["path"]).stat().st_size == pathlib.Path(stored).stat().st_size
    assert program.run("rm", model["name"], env=home).returncode == 0
    assert program.run_json("list", env=home) == []
    assert sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file()) < 1_000_000


def test_output_into_a_closed_pipe_is_no_crash():
    done = subprocess.run(f"'{program.BINARY}' run {program.MODEL} 'Tell a story.' --max-tokens 200 | head -c 5; exit ${{PIPESTATUS[0]}}", shell=True,
                          executable="/bin/bash", capture_output=True, timeout=120)
    assert done.returncode in (0, 1, 130, 141), done.stderr


@pytest.mark.parametrize("command", ["run {} Hi --max-tokens 3", "show {}", "tokenize {} Hi", "list"])
@pytest.mark.parametrize("output", [">/dev/full", ">&-"])
def test_output_that_can_not_be_written_is_an_error(command, output):
    done = subprocess.run(f"'{program.BINARY}' {command.format(program.MODEL)} {output}", shell=True, executable="/bin/bash", stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 1 and "standard output" in done.stderr


def test_files_do_not_steer_the_terminal(tmp_path):
    def text(value):
        return struct.pack("<Q", len(value)) + value
    entries = text(b"general.architecture") + struct.pack("<I", 8) + text(b"\x1b[31mllama\x1b]0;title\x07")
    hostile = tmp_path / "hostile.gguf"
    hostile.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + entries + bytes(32))
    for command in (("show", hostile), ("run", "\x1b[31mllama\x07", "Hi")):
        done = program.run(*command)
        assert "\\x1b[31mllama" in done.stdout + done.stderr
        assert not set("\x1b\x07") & set(done.stdout + done.stderr)


def test_a_model_that_is_shortened_in_use_ends_the_program_with_a_reason(tmp_path):
    model = tmp_path / "model.gguf"
    model.write_bytes(pathlib.Path(program.run_json("show", program.MODEL)["path"]).read_bytes())
    server = program.Server(model, env={"EDGEWISE_PACKED": "off"})
    os.truncate(model, 1000)
    with pytest.raises(OSError):
        server.request("POST", "/v1/completions", {"model": "model", "prompt": "The capital of France", "max_tokens": 3})
    assert server.process.wait(10) == 4
    program.wait_until(lambda: "shortened while in use" in "".join(server.output), 5, "the reason is said")


def test_no_colours_outside_a_terminal():
    for args in (("show", program.MODEL), ("list",), ("run", "no-such-model", "x")):
        done = program.run(*args)
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03\0\0\0" + b"\xff" * 16, b"GGUF\x03\0\0\0" + b"\0" * 7, b"\x00" * 4096])
def test_hostile_files_get_an_error(tmp_path, content):
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(content)
    done = program.run("show", bad)
    assert done.returncode == 4 and done.stderr.startswith("error:")


def test_truncated_model_is_an_error(tmp_path):
    whole = pathlib.Path(program.run_json("show", program.MODEL)["path"])
    short = tmp_path / "short.gguf"
    with open(whole, "rb") as source:
        short.write_bytes(source.read(5_000_000))
    done = program.run("run", short, "Hi")
    assert done.returncode == 4 and os.linesep not in done.stderr.strip() and "is the file complete?" in done.stderr


@pytest.mark.parametrize("args, word", [
    (("runn", program.MODEL), 'no command "runn"'), (("run", program.MODEL, "x", "-n", "3.5"), 'takes a number, not "3.5"'), (("run", program.MODEL, "x", "-n", "3", "-n", "4"), "more than once"),
    (("run", program.MODEL, "x", "--max-tokens="), "needs a value"), (("run", program.MODEL, "x", "--seed", "-1"), '"-1" is not'), (("run", program.MODEL, "x", "--seed", str(2**64)), str(2**64 - 1)),
    (("serve", program.MODEL, "--port", "0", "--host", ""), "empty"), (("serve", program.MODEL, "--port", "0", "--host", "192.0.2.1"), "no such address"),
    (("serve", program.MODEL, "--port", "0", "--cors", "https://app.example/"), "without a path"), (("serve", program.MODEL, "--port", "0", "--api-key", "k", "--api-key", "k share=2"), "twice")])
def test_mistakes_are_named(args, word):
    done = program.run(*args, timeout=60)
    assert done.returncode == 2 and word in done.stderr, done.stderr


def test_environment_variables_that_mean_nothing_are_refused():
    done = program.run("run", program.MODEL, "x", "-n", "1", env={"EDGEWISE_PACKED": "no"})
    assert done.returncode == 2 and "EDGEWISE_PACKED" in done.stderr


def test_a_safetensors_file_without_its_folder(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    done = program.run("run", tmp_path / "model.safetensors", "x")
    assert done.returncode == 4 and "give the folder" in done.stderr


def test_little_memory_is_said_as_such():
    done = subprocess.run([str(program.BINARY), "run", program.MODEL, "x"], capture_output=True, text=True, timeout=120,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (60_000_000, 60_000_000)))
    assert done.returncode == 5 and "Cannot allocate memory" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user, whom limits and permissions bind")
def test_what_another_user_may_not(tmp_path):
    nobody = 65534
    stored = pathlib.Path(program.run_json("show", program.MODEL)["path"])
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        os.chmod(folder, 0o755)
        binary, model, closed = (pathlib.Path(folder, name) for name in ("edgewise", "model.gguf", "closed"))
        shutil.copy(program.BINARY, binary)
        shutil.copy(stored, model)
        closed.mkdir(mode=0)
        command = ["setpriv", "--reuid", str(nobody), "--regid", str(nobody), "--clear-groups", "env", "HOME=" + folder, "EDGEWISE_PACKED=off"]
        threads = subprocess.run([*command, "prlimit", "--nproc=1", binary, "run", model, "x", "-n", "1"], capture_output=True, text=True, timeout=120)
        assert threads.returncode == 5 and "cannot start a thread" in threads.stderr, threads.stderr
        hidden = subprocess.run([*command, binary, "run", closed / "model.gguf", "x"], capture_output=True, text=True, timeout=120)
        assert hidden.returncode == 7 and "Permission denied" in hidden.stderr, hidden.stderr


def test_a_cache_larger_than_memory_is_warned_of():
    with program.serving(program.MODEL, "--cache-mib", 100_000_000) as server:
        assert any("--cache-mib" in line for line in server.output)


def test_a_file_with_another_sum_is_said_not_to_be_stored(tmp_path):
    model = program.run_json("show", program.MODEL)["path"]
    done = program.run("pull", model, "--sha256", "0" * 64, env={"EDGEWISE_HOME": str(tmp_path)})
    assert done.returncode == 4 and "was not stored" in done.stderr and "removed" not in done.stderr
