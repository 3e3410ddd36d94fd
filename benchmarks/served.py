"""A server as the benchmarks start it, a process on a free port, waited for, and ended; and where their figures are kept."""
import datetime
import json
import os
import pathlib
import socket
import subprocess
import sys
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


def commit():
    return subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()


def command():
    """The running benchmark's, as one types it at the project's root."""
    return " ".join([f"benchmarks/{pathlib.Path(sys.argv[0]).name}", *sys.argv[1:]])


def provenance(model):
    """Where a result comes from."""
    bench = [BINARY, "bench", model, "--prompt", "1", "--generate", "1", "--sequences", "1", "--json"]
    machine = json.loads(subprocess.run(bench, check=True, capture_output=True, text=True).stdout)
    return {"cpu": machine["cpu"], "kernels": machine["kernels"], "threads": machine["threads"], "date": datetime.date.today().isoformat(),
            "commit": commit(), "command": command()}


def record(benchmark, model, results):
    """Keeps results, each under its name, beside those of other names that were kept before."""
    origin = provenance(model)
    target = results_file(benchmark, model, origin["kernels"])
    kept = json.loads(target.read_text()) if target.exists() else {}
    target.write_text(json.dumps(kept | {name: origin | result for name, result in results.items()}, indent=1) + "\n")
    print(f"recorded in {target.relative_to(ROOT)}", file=sys.stderr)


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
