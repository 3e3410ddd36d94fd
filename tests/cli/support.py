"""The binary under test, and a place of its own for every test."""
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

BINARY = os.environ.get("EDGEWISE_BINARY", str(pathlib.Path(__file__).resolve().parents[2] / "build/release/edgewise"))


class CliTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="edgewise-cli-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.env = {k: v for k, v in os.environ.items() if k not in ("EDGEWISE_API_KEYS", "HF_ENDPOINT", "XDG_DATA_HOME")}
        self.env |= {"EDGEWISE_HOME": str(self.folder / "home"), "XDG_STATE_HOME": str(self.folder / "state")}

    def run_edgewise(self, *args, stdin="", **kwargs):
        kwargs.setdefault("text", True)
        kwargs.setdefault("timeout", 300)
        env = self.env | kwargs.pop("env", {})
        return subprocess.run([BINARY, *map(str, args)], input=stdin, capture_output=True, env=env, check=False, **kwargs)

    def succeed(self, *args, **kwargs):
        done = self.run_edgewise(*args, **kwargs)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def json_of(self, *args, **kwargs):
        return json.loads(self.succeed(*args, "--json", **kwargs).stdout)

    def fail_with(self, status, *args, **kwargs):
        done = self.run_edgewise(*args, **kwargs)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertTrue(done.stderr.startswith("error: "), done.stderr)
        return done.stderr
