"""`run` as a person sees it: on a terminal of its own."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

import program

LIMIT = 60


class Terminal:
    """A program on a pseudo-terminal; what it shows is collected as text without control sequences."""

    def __init__(self, *args, env=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))  # wide: what is typed must not wrap
        self.process = subprocess.Popen([str(program.BINARY), *map(str, args)], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
                                        env=dict(os.environ, TERM="xterm", **(env or {})),
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))  # Ctrl-C reaches it
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

    def say(self, line):
        """Types a line; where the answer to it begins."""
        at = len(self.text)
        self.type(line + "\r")
        return self.wait_for(re.escape(line) + "\n", at)

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
    at = shown.say("What is the capital of France? Answer in one sentence.")
    shown.wait_for(r"Paris[\s\S]*\n> ?$", at)
    at = shown.say("Repeat your last answer.")  # to be answered only with what was said before
    shown.wait_for(r"Paris", at)


def test_ctrl_c_stops_the_answer_and_not_the_program(terminal):
    shown = conversation(terminal)
    at = shown.say("Write a very long story.")
    shown.wait_for(r"\w[\s\S]{40,}", at)
    shown.type("\x03")
    stopped = shown.wait_for(r"\n> ?$", at)
    shown.wait_for_quiet()
    assert shown.process.poll() is None and len(shown.text) == stopped
    shown.wait_for(r"\w", shown.say("What is 2 + 2?"))


def test_input_of_several_lines(terminal):
    shown = conversation(terminal, "--max-tokens", "40")
    shown.type('"""\rWhat is the capital\rof France?\r"""\r')
    shown.wait_for(r"Paris[\s\S]*\n> ?$")
    assert shown.text.count("Paris") == 1, "one answer to three lines"


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
