"""The README's commands run, and what the architecture page and the dashboard name exists."""
import json
import os
import re
import subprocess
import sys

import pytest

import program

README = program.ROOT / "README.md"
ARCHITECTURE = program.ROOT / "docs/architecture.md"


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)


def command_lines():
    """Commands of the README that can run here: not the long ones that the test of the test would be."""
    skip = ("./quickstart", "./check", "edgewise serve", "git clone", "tests/accuracy/", "benchmarks/", "sudo ")
    for line in "".join(blocks("sh")).splitlines():
        line = line.split("  #")[0].strip()
        if line and not any(word in line for word in skip):
            yield line


@pytest.mark.parametrize("line", list(command_lines()) if README.exists() else [])
def test_readme_command(line, tmp_path):
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=300,
                          env=dict(os.environ, PATH=f"{program.BINARY.parent}:{os.environ['PATH']}"))
    assert done.returncode == 0, done.stderr


def test_readme_serve_command_is_accepted():
    (line,) = [line for line in "".join(blocks("sh")).splitlines() if " serve " in line]
    assert re.match(r"edgewise serve smollm2 --port 8080\b", line)


def test_readme_python_snippet(server):
    (snippet,) = blocks("python")
    assert "http://127.0.0.1:8080" in snippet
    done = subprocess.run([sys.executable, "-c", snippet.replace("http://127.0.0.1:8080", server.url)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip(), done.stderr


def test_readme_commands_exist():
    text = README.read_text()
    for script in ("quickstart", "check"):
        assert f"./{script}" in text and (program.ROOT / script).stat().st_mode & 0o100


def named_paths(page):
    return set(re.findall(r"`((?:src|apps|tests|tools|docs|rust|cmake|benchmarks)/[\w./-]*\w)`", page.read_text()))


@pytest.mark.parametrize("page", [README, *sorted((program.ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name)
def test_paths_in_documents_exist(page):
    missing = [path for path in named_paths(page) if not (program.ROOT / path).exists()]
    assert not missing
    assert page != ARCHITECTURE or len(named_paths(page)) >= 15


def test_figures_in_the_readme_come_from_the_results():
    done = subprocess.run(["python3", "benchmarks/readme_table.py", "--check"], cwd=program.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def metrics_of(expression):
    """The names of metrics in a Prometheus expression: its words that are no function, label or value."""
    bare = re.sub(r'\{[^}]*\}|\[[^]]*\]|\b(?:by|without) \([^)]*\)|"[^"]*"', "", expression)
    return {word for word in re.findall(r"[a-zA-Z_:][\w:]*", bare) if not re.fullmatch(r"rate|sum|max|min|avg|histogram_quantile|le|on|group_left", word)}


NOT_SHOWN = {"edgewise_kv_disk_pages", "edgewise_link_share_in_use"}  # the same as others, in another unit


def test_the_dashboard_shows_what_a_server_exports():
    with program.serving(program.MODEL, "--context", "4096", "--downlink-kbps", "8000") as server:
        assert server.chat([{"role": "user", "content": "Hi"}], max_tokens=3, stream=True).status == 200
        metrics = server.request("GET", "/metrics").text
        with program.serving(program.MODEL, "--context", "4096", "--node", server.url) as front:
            metrics += front.request("GET", "/metrics").text
    dashboard = json.loads((program.ROOT / "docs/grafana.json").read_text())
    exported = {re.split("[{ ]", line)[0] for line in metrics.splitlines() if line and line[0] != "#"}
    shown = {(panel["title"], name) for panel in dashboard["panels"] for target in panel["targets"] for name in metrics_of(target["expr"])}
    assert len(shown) > 25
    assert not {(title, name) for title, name in shown if name not in exported}
    assert {name for _, name in shown} >= {name for name in exported if name.startswith(("edgewise_kv_disk_", "edgewise_link_", "edgewise_node_", "edgewise_placement_", "edgewise_assignment"))} - NOT_SHOWN
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in dashboard["panels"]]
    assert len({p["id"] for p in dashboard["panels"]}) == len(set(places)) == len(places)
