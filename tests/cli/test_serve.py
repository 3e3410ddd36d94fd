"""`serve` as a process: its one line, its signals, its refusals. What it answers is tested end to end."""
import json
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request

import tiny_gguf
from https_server import make_certificate
from support import BINARY, CliTest


class Serve(CliTest):
    def setUp(self):
        super().setUp()
        self.model = tiny_gguf.write(self.folder / "tiny.gguf")

    def start(self, *options, env=None, before=()):
        process = subprocess.Popen([*before, BINARY, "serve", str(self.model), "--port", "0", *options], env=self.env | (env or {}),
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        line = process.stdout.readline()
        found = re.search(r"(https?://[^ ]+:(\d+))", line)
        self.assertTrue(found, line + process.stderr.read() if process.poll() is not None else line)
        self.line = line
        return process, found.group(1)

    def complete(self, url, **more):
        body = json.dumps({"model": "tiny", "prompt": "hello", **more}).encode()
        with urllib.request.urlopen(urllib.request.Request(url + "/v1/completions", body, {"Content-Type": "application/json"}), timeout=60) as reply:
            return json.loads(reply.read())

    def test_one_line_says_when_it_is_ready_and_what_is_missing(self):
        process, url = self.start()
        self.assertIn("no chat template", self.line)
        self.assertTrue(self.complete(url, max_tokens=3)["choices"])
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 0)
        self.assertEqual(process.stdout.read(), "")

    def test_a_closed_terminal_stops_it_but_not_under_nohup(self):
        process, _ = self.start()
        process.send_signal(signal.SIGHUP)
        self.assertEqual(process.wait(30), 0)
        process, url = self.start(before=["nohup"])
        process.send_signal(signal.SIGHUP)
        self.assertTrue(self.complete(url, max_tokens=3)["choices"])
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(30), 0)

    def test_a_running_answer_is_finished_before_it_stops(self):
        process, url = self.start()
        answers = []
        running = threading.Thread(target=lambda: answers.append(self.complete(url, max_tokens=200, ignore_eos=True)))
        running.start()
        deadline = time.monotonic() + 30
        while 'edgewise_sequences_running{model="tiny"} 1' not in urllib.request.urlopen(url + "/metrics").read().decode() and running.is_alive():
            self.assertLess(time.monotonic(), deadline)
        process.send_signal(signal.SIGINT)
        running.join(60)
        self.assertEqual(process.wait(30), 0)
        self.assertEqual(answers[0]["usage"]["completion_tokens"], 200)

    def test_a_second_signal_stops_at_once(self):
        process, url = self.start("--drain-seconds", "600")
        held = socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1])))
        self.addCleanup(held.close)
        body = json.dumps({"model": "tiny", "prompt": "hello", "max_tokens": 200, "ignore_eos": True, "n": 8, "stream": True})
        held.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        held.recv(1)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        self.assertIn(process.wait(30), (0, -signal.SIGTERM))

    def test_a_port_in_use_is_said(self):
        _, url = self.start()
        message = self.fail_with(6, "serve", self.model, "--port", url.rsplit(":", 1)[1])
        self.assertIn("choose another port", message)

    def test_tls(self):
        certificate, key = make_certificate(self.folder)
        _, url = self.start("--tls-cert", str(certificate), "--tls-key", str(key))
        self.assertTrue(url.startswith("https://"))
        self.fail_with(2, "serve", self.model, "--tls-cert", certificate)
        self.assertNotEqual(self.run_edgewise("serve", self.model, "--port", "0", "--tls-cert", self.folder / "missing", "--tls-key", key).returncode, 0)

    def test_keys_from_a_file(self):
        keys = self.folder / "keys"
        keys.write_text("# of the gateway\nfirst\n\n second \n")
        _, url = self.start("--api-key-file", str(keys))
        for key, status in (("first", 200), ("second", 200), ("# of the gateway", 401), ("third", 401)):
            request = urllib.request.Request(url + "/v1/models", headers={"Authorization": f"Bearer {key}"})
            try:
                got = urllib.request.urlopen(request).status
            except urllib.error.HTTPError as error:
                got = error.code
                error.close()
            self.assertEqual(got, status, key)
        keys.write_text("first\n:\n")
        self.assertIn('":" is no API key', self.fail_with(2, "serve", self.model, "--port", "0", "--api-key-file", keys))
        keys.write_text("# nothing\n")
        self.assertIn("holds no key", self.fail_with(2, "serve", self.model, "--port", "0", "--api-key-file", keys))

    def test_wrong_options(self):
        for options in (("--port", "70000"), ("--parallel", "0"), ("--context", "100000"), ("--max-body", "0"), ("--host", "no such host")):
            self.assertEqual(self.run_edgewise("serve", self.model, *options).returncode, 2, options)
