"""Prefixes kept on disk, with the official client: they survive a restart, change no answer, and are nobody else's."""
import pathlib
import signal
import time

import openai
import pytest

import program

SYSTEM = "You answer briefly. " + " ".join(f"Rule {i}: never mention the number {i * 7}." for i in range(60))
PAGE = "[0-9a-f]" * 64


@pytest.fixture
def home(tmp_path):
    return {"EDGEWISE_HOME": str(tmp_path)}


@pytest.fixture(scope="module")
def model():
    return program.run_json("show", program.MODEL)["path"]


def serve(model, home, *options):
    return program.Server(model, "--context", "2048", "--alias", program.MODEL, "--kv-disk-mib", "200", *options, env=home)


def ask(server, question, key="none"):
    with openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=120) as client:
        reply = client.chat.completions.create(model=program.MODEL, temperature=0, max_tokens=12, messages=[
            {"role": "system", "content": SYSTEM}, {"role": "user", "content": question}])
    return reply.choices[0].message.content, reply.usage.prompt_tokens_details.cached_tokens


def pages(home):
    return sorted(pathlib.Path(home["EDGEWISE_HOME"], "kv").glob(PAGE))


def fill(server, home, key="none"):
    """Asks until the shared beginning is on disk; gives back the answers."""
    answers = [ask(server, question, key) for question in ("What is 1 + 1?", "Name a colour.")]
    program.wait_until(lambda: len(pages(home)) >= 8, 20, "the beginning is on disk")
    return answers


def test_a_shared_beginning_survives_a_restart_and_changes_no_answer(model, home):
    first = serve(model, home)
    without, _ = ask(first, "What is the capital of France?")
    fill(first, home)
    assert first.stop() == 0
    kept = len(pages(home))
    second, beside = serve(model, home), serve(model, home)
    try:
        for server in (second, beside):
            answer, cached = ask(server, "What is the capital of France?")
            assert answer == without and cached >= 8 * 64
            assert server.metrics()["edgewise_kv_blocks_mapped"] >= 8
        found = second.metrics()
        assert found["edgewise_kv_disk_found_total"] >= 8 and found["edgewise_kv_disk_refused_total"] == 0
        assert found["edgewise_kv_disk_pages"] >= kept >= 8
    finally:
        second.stop()
        beside.stop()
    assert program.run("rm", "--kv", env=home).returncode == 0
    assert pages(home) == []


def test_keys_share_nothing(model, home):
    keys = ("--api-key", "alice", "--api-key", "bob")
    first = serve(model, home, *keys)
    fill(first, home, "alice")
    first.stop()
    # In another order: the owner is told by the key, not by its place.
    second = serve(model, home, "--api-key", "bob", "--api-key", "alice")
    try:
        assert ask(second, "Name an animal.", "bob")[1] == 0
        assert ask(second, "Name an animal.", "alice")[1] >= 8 * 64
    finally:
        second.stop()


def test_killed_while_it_writes_and_damaged_files(model, home):
    for _ in range(3):
        server = serve(model, home)
        for question in ("What is 1 + 1?", "Name a colour."):
            expected, _ = ask(server, question)
        time.sleep(0.01)
        server.stop(signal.SIGKILL)
    server = serve(model, home)
    fill(server, home)
    server.stop()
    for number, page in enumerate(pages(home)):
        whole = page.read_bytes()
        page.write_bytes(whole[:-1] if number % 2 else whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
    server = serve(model, home)
    try:
        answer, cached = ask(server, "Name a colour.")
        assert answer == expected and cached == 0
        assert server.metrics()["edgewise_kv_disk_refused_total"] >= 1
        assert any("is not used" in line for line in server.output)
    finally:
        server.stop()


def test_a_folder_that_can_not_be_used_is_said_once_and_changes_nothing(model, home):
    pathlib.Path(home["EDGEWISE_HOME"], "kv").write_text("no folder")
    server = serve(model, home)
    try:
        assert ask(server, "Name a colour.")[0]
        assert len([line for line in server.output if "not kept on disk" in line]) == 1
    finally:
        server.stop()


def test_nothing_is_kept_unless_asked(model, home):
    with program.serving(model, "--context", "2048", "--alias", program.MODEL, env=home) as server:
        ask(server, "What is 1 + 1?")
        ask(server, "Name a colour.")
    assert not pathlib.Path(home["EDGEWISE_HOME"], "kv").exists()
