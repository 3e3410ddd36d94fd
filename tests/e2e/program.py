"""The edgewise binary as the tests use it: one-shot commands, and servers on a free loopback port."""
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = pathlib.Path(os.environ.get("EDGEWISE", ROOT / "build/release/edgewise"))
MODEL = "smollm2"
START_LIMIT = 60.0  # seconds; a sanitizer build loads slowly


def run(*args, stdin=None, env=None, timeout=300):
    """One command to its end. Colours and progress are off: its output is no terminal."""
    return subprocess.run([str(BINARY), *map(str, args)], input=stdin, capture_output=True, text=True, timeout=timeout,
                          env=dict(os.environ, **(env or {})))


def run_json(*args, **kwargs):
    done = run(*args, "--json", **kwargs)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@dataclasses.dataclass
class Reply:
    status: int
    headers: dict
    text: str

    @property
    def json(self):
        return json.loads(self.text)


class Server:
    def __init__(self, model, *options, env=None):
        """`model`: one, or a list of several."""
        models = model if isinstance(model, list) else [model]
        self.process = subprocess.Popen(
            [str(BINARY), "serve", *map(str, models), *([] if "--port" in options else ["--port", "0"]),
             *map(str, options)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, **(env or {})))
        self.output = []
        self.port = None
        self.scheme = "http"
        self._found = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._found.wait(START_LIMIT) or self.port is None:
            self.process.kill()
            raise AssertionError("the server did not say where it listens:\n" + "".join(self.output))
        self._wait_until_ready()

    def _read(self):
        for line in self.process.stdout:
            self.output.append(line)
            where = re.search(r"\bready at (https?)://[^\s/]*:(\d+)", line)
            if where and self.port is None:
                self.scheme, self.port = where.group(1), int(where.group(2))
                self._found.set()
        self._found.set()

    def _wait_until_ready(self):
        deadline = time.monotonic() + START_LIMIT
        while self.scheme == "http" and self.request("GET", "/ready").status != 200:
            assert time.monotonic() < deadline, "never ready"
            time.sleep(0.02)

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def request(self, method, path, body=None, headers=None, timeout=120):
        """Any request, broken ones too: `body` is a string or bytes as they go out, or a value to send as JSON."""
        if body is not None and not isinstance(body, (str, bytes)):
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode()
        request = urllib.request.Request(self.url + path, data=body, method=method,
                                         headers={"Content-Type": "application/json", **(headers or {})})
        try:
            with urllib.request.urlopen(request, timeout=timeout) as reply:
                return Reply(reply.status, dict(reply.headers), reply.read().decode())
        except urllib.error.HTTPError as error:
            return Reply(error.code, dict(error.headers), error.read().decode())

    def chat(self, messages, **parameters):
        return self.request("POST", "/v1/chat/completions", {"model": MODEL, "messages": messages, **parameters})

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def metrics(self):
        """{name or name{labels}: value} of /metrics, where `model` is no label: summed over the models."""
        sums = {}
        for line in self.request("GET", "/metrics").text.splitlines():
            if line and line[0] != "#":
                name, value = line.rsplit(" ", 1)
                name = re.sub(r'([{,])model="[^"]*",?', r"\1", name).replace(",}", "}").replace("{}", "")
                sums[name] = sums.get(name, 0) + float(value)
        return sums

    def running(self):
        return self.metrics()["edgewise_sequences_running"]

    def sequences_so_far(self):
        """How many sequences the engine ever took."""
        return next(v for k, v in self.metrics().items() if k.startswith("edgewise_engine_sequences"))

    def status(self, field):
        """A kB field of /proc/PID/status, in bytes."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE).group(1)) * 1024

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self, how=signal.SIGTERM, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout)


@contextlib.contextmanager
def serving(model=MODEL, *options, env=None):
    server = Server(model, *options, env=env)
    try:
        yield server
    finally:
        try:
            server.stop()
        except subprocess.TimeoutExpired:
            server.process.kill()
            raise


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
