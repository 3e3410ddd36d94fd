"""The official client for Node, version pinned in node/package-lock.json."""
import pathlib
import subprocess

import program

HERE = pathlib.Path(__file__).resolve().parent


def test_node_client(server):
    done = subprocess.run(["node", "client.mjs", server.url + "/v1", program.MODEL], cwd=HERE / "node", capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "7 checks" in done.stdout
