"""`run` as a person sees it: on a terminal of its own."""
import os
import pty
import re
import select
import signal
import subprocess
import time

import pytest

import program

LIMIT = 60


class Terminal:
    """A program on a pseudo-terminal; what it shows is collected as text without control sequences."""

    def __init__(self, *args, env=None):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([str(program.BINARY), *map(str, args)], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env=dict(os.environ, TERM="xterm", **(env or {})),
                                        preexec_fn=lambda: __import__("fcntl").ioctl(0, 0x540E, 0))  # TIOCSCTTY: Ctrl-C reaches it
        os.close(slave)
        self.raw = ""

    @property
    def text(self):
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", self.raw)

    def read(self, seconds=0.1):
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.raw += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                return False
        return True

    def wait_for(self, pattern, after=0):
        deadline = time.monotonic() + LIMIT
        while not re.search(pattern, self.text[after:], re.MULTILINE):
            assert self.read() and time.monotonic() < deadline, f"no {pattern!r} in:\n{self.text[after:]}"
        return len(self.text)

    def wait_for_quiet(self, seconds=1.0):
        last = time.monotonic()
        while time.monotonic() - last < seconds:
            before = len(self.raw)
            if not self.read():
                return
            if len(self.raw) != before:
                last = time.monotonic()

    def type(self, text):
        os.write(self.master, text.encode())

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def terminal():
    opened = []

    def start(*args, **kwargs):
        opened.append(Terminal(*args, **kwargs))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def conversation(terminal, *options):
    shown = terminal("run", program.MODEL, "--temperature", "0", *options)
    shown.wait_for(r"> ?$")
    return shown


def test_a_conversation_remembers(terminal):
    shown = conversation(terminal, "--max-tokens", "40")
    at = len(shown.text)
    shown.type("My name is Zebedee. Please remember it.\r")
    at = shown.wait_for(r"\w+[\s\S]*\n> ?$", at + 45)
    shown.wait_for_quiet()
    at = len(shown.text)
    shown.type("What is my name?\r")
    shown.wait_for(r"Zebedee", at)


def test_ctrl_c_stops_the_answer_and_not_the_program(terminal):
    shown = conversation(terminal)
    shown.type("Count slowly from one to one thousand, in words, each on a line of its own.\r")
    at = shown.wait_for(r"\n\S[\s\S]{20,}")
    shown.type("\x03")
    shown.wait_for(r"\n> ?$", at - 10)
    shown.wait_for_quiet()
    assert shown.process.poll() is None
    at = len(shown.text)
    shown.type("What is the capital of France?\r")
    shown.wait_for(r"Paris", at)


def test_input_of_several_lines(terminal):
    shown = conversation(terminal, "--max-tokens", "40")
    shown.type('"""\rWhat is the capital\rof France?\r"""\r')
    shown.wait_for(r"Paris")


def test_end_of_input_ends_the_conversation(terminal):
    shown = conversation(terminal)
    shown.type("\x04")
    deadline = time.monotonic() + 10
    while shown.process.poll() is None and time.monotonic() < deadline:
        shown.read()
    assert shown.process.returncode == 0


def test_ctrl_c_ends_a_one_shot_answer(terminal):
    shown = terminal("run", program.MODEL, "Write a very long story.")
    shown.wait_for(r"\w{3,}")
    shown.type("\x03")
    deadline = time.monotonic() + 10
    while shown.process.poll() is None and time.monotonic() < deadline:
        shown.read()
    assert shown.process.returncode in (130, -signal.SIGINT)


def test_no_color_is_honoured(terminal):
    shown = terminal("show", program.MODEL, env={"NO_COLOR": "1"})
    while shown.read():
        pass
    assert not re.search(r"\x1b\[[0-9;]*m", shown.raw) and "tensors" in shown.text
