"""A server as the benchmarks start it: a process on a free port, waited for, and ended."""
import os
import pathlib
import socket
import subprocess
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
BINARY = pathlib.Path(os.environ.get("EDGEWISE", ROOT / "build/release/edgewise")).resolve()
PORT = object()  # in a command: where the port stands


def cpu_family():
    """The processor's maker and family, such as amd-26 (Zen 5), intel-6, arm-0xd40: /proc/cpuinfo's words."""
    fields = {}
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    makers = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}
    if "vendor_id" in fields:
        return f"{makers.get(fields['vendor_id'], fields['vendor_id'].lower())}-{fields['cpu family']}"
    return f"arm-{fields.get('CPU part', 'unknown')}"


def results_file(kind, model, kernels):
    """Where the figures of a model are kept: one folder for each kind of CPU and the kernels that it runs."""
    folder = ROOT / f"benchmarks/results/{cpu_family()}-{kernels}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{kind}-{pathlib.Path(model).name.removesuffix('.gguf')}.json"


def edgewise(model, *options):
    if not BINARY.exists():
        raise SystemExit(f"there is no {BINARY}: run ./quickstart, or say in EDGEWISE where the program is")
    return [BINARY, "serve", model, "--port", PORT, *options]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Starts at once; use it in a `with`, or call stop()."""

    def __init__(self, command, **how):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = subprocess.Popen([str(self.port if part is PORT else part) for part in command], stdout=subprocess.DEVNULL, **how)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def has_ended(self):
        return self.process.poll() is not None

    def wait(self, limit=600.0):
        """Until it answers; gives back itself."""
        latest = time.monotonic() + limit
        while not self.has_ended() and time.monotonic() < latest:
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=5) as reply:
                    if reply.status == 200:
                        return self
            except (OSError, urllib.error.URLError):  # not yet, or still loading
                time.sleep(0.02)
        self.stop()
        raise SystemExit("the server did not start")

    def memory_bytes(self, field):
        """VmRSS, VmHWM and so on."""
        lines = pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))

    def stop(self):
        """The exit status."""
        self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:  # it shall not live on beside the next one
            self.process.kill()
            return self.process.wait()
