"""`pull` over HTTPS from a server that misbehaves, from files, and what is left when it does not end well."""
import hashlib
import os
import pathlib
import resource
import signal
import subprocess
import threading
import time

import tiny_gguf
from https_server import File, HttpsServer
from support import BINARY, CliTest

CONTENT = tiny_gguf.head() + bytes(range(256)) * 8192  # 2 MiB behind the least that is a model
MODEL = tiny_gguf.head([("general.name", tiny_gguf.STRING, "none")])
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class HttpsPull(CliTest):
    def setUp(self):
        super().setUp()
        self.server = HttpsServer(self.folder)
        self.addCleanup(self.server.close)
        self.env["SSL_CERT_FILE"] = str(self.server.certificate)
        self.url = self.server.url + "/m.gguf"

    def offer(self, content=CONTENT, path="/m.gguf", **how):
        self.server.files[path] = File(content, **how)
        return self.server.files[path]

    def stored(self, name="m"):
        (model,) = [m for m in self.json_of("list") if m["name"] == name]
        return pathlib.Path(model["path"]).read_bytes()

    def ranges(self):
        return [headers.get("Range") for _, headers in self.server.requests]

    def test_brings_a_file_and_says_where_it_is(self):
        self.offer()
        pulled = self.json_of("pull", self.url, "--sha256", SHA256)
        self.assertEqual(pulled["name"], "m")
        self.assertEqual(pathlib.Path(pulled["path"]).read_bytes(), CONTENT)
        self.assertEqual(pathlib.Path(pulled["path"]).name, "m.gguf")

    def test_is_quiet_in_a_pipe(self):
        self.offer()
        self.assertEqual(self.succeed("pull", self.url).stderr, "")

    def test_continues_after_lost_connections(self):
        self.offer(drops=[300_000, 500_000])
        self.succeed("pull", self.url, "--sha256", SHA256)
        self.assertEqual(self.stored(), CONTENT)
        self.assertEqual(self.ranges(), [None, "bytes=300000-", "bytes=800000-"])

    def test_continues_in_another_run(self):
        self.offer(drops=[300_000] + [0] * 20)
        self.assertIn("continues", self.fail_with(6, "pull", self.url))
        self.assertEqual(self.json_of("list"), [])
        self.server.files["/m.gguf"].drops = []
        self.server.requests.clear()
        self.succeed("pull", self.url, "--sha256", SHA256)
        self.assertEqual(self.ranges(), ["bytes=300000-"])
        self.assertEqual(self.stored(), CONTENT)

    def test_what_did_not_end_can_be_removed(self):
        self.offer(drops=[300_000] + [0] * 20)
        self.fail_with(6, "pull", self.url)
        self.assertGreaterEqual(self.json_of("rm", "--partial")["freed_bytes"], 300_000)
        self.assertEqual(self.json_of("rm", "--partial")["freed_bytes"], 0)
        self.fail_with(2, "rm")
        self.fail_with(2, "rm", "m", "--partial")

    def test_starts_anew_when_the_file_has_changed(self):
        file = self.offer(b"x" * 1_000_000, drops=[300_000] + [0] * 20)
        self.fail_with(6, "pull", self.url)
        file.content, file.etag, file.drops = CONTENT, '"2"', []
        self.succeed("pull", self.url)
        self.assertEqual(self.stored(), CONTENT)

    def test_starts_anew_when_the_server_knows_no_ranges(self):
        self.offer(drops=[300_000], ignores_ranges=True)
        self.succeed("pull", self.url, "--sha256", SHA256)
        self.assertEqual(self.stored(), CONTENT)

    def test_does_not_continue_what_it_cannot_recognize(self):
        self.offer(drops=[300_000], etag=None)
        self.succeed("pull", self.url, "--sha256", SHA256)
        self.assertEqual(self.ranges(), [None, None])

    def test_other_bytes_than_expected_are_refused_and_forgotten(self):
        self.offer(b"y" + CONTENT[1:])
        self.assertIn(SHA256, self.fail_with(4, "pull", self.url, "--sha256", SHA256))
        self.assertEqual(self.json_of("list"), [])
        self.offer(etag='"2"')
        self.succeed("pull", self.url, "--sha256", SHA256)
        self.assertEqual(self.ranges()[-1], None)

    def test_statuses_become_exit_codes(self):
        for status, code in ((403, 7), (404, 3), (410, 3), (500, 6)):
            self.offer(status=status)
            self.assertIn(str(status), self.fail_with(code, "pull", self.url))
        self.assertEqual(self.json_of("list"), [])

    def test_an_unknown_authority_is_refused(self):
        self.offer()
        message = self.fail_with(6, "pull", self.url, env={"SSL_CERT_FILE": "/dev/null", "SSL_CERT_DIR": "/nonexistent"})
        self.assertIn("certificate", message.lower())

    def test_follows_redirects_but_never_to_plain_http(self):
        self.offer(path="/real/m.gguf")
        self.offer(redirect="/real/m.gguf")
        self.succeed("pull", self.url, "--sha256", SHA256)
        self.assertEqual(self.stored(), CONTENT)
        self.offer(redirect="http://localhost:1/m.gguf", path="/other.gguf")
        self.assertNotEqual(self.run_edgewise("pull", self.server.url + "/other.gguf").returncode, 0)

    def test_hub_references(self):
        self.offer(path="/owner/repo/resolve/main/sub/m.gguf")
        env = {"HF_ENDPOINT": self.server.url}
        self.succeed("pull", "owner/repo/sub/m.gguf", env=env)
        self.assertEqual(self.stored(), CONTENT)
        (model,) = self.json_of("list")
        self.assertEqual(model["source"], "owner/repo/sub/m.gguf")
        self.succeed("show", "owner/repo/sub/m.gguf")  # found by its source
        self.assertIn("HF_ENDPOINT", self.fail_with(2, "pull", "owner/repo/sub/m.gguf"))

    def test_any_part_brings_a_split_model(self):
        parts = [tiny_gguf.head([("split.no", tiny_gguf.U32, part), ("split.count", tiny_gguf.U32, 3)]) for part in range(3)]
        for part, content in enumerate(parts, 1):
            self.offer(content, path=f"/big-0000{part}-of-00003.gguf")
        pulled = self.json_of("pull", self.server.url + "/big-00002-of-00003.gguf", "--name", "big")
        first = pathlib.Path(pulled["path"])
        self.assertEqual([(first.parent / f"big-0000{p}-of-00003.gguf").read_bytes() for p in (1, 2, 3)], parts)

    def test_two_at_once_agree(self):
        self.offer()
        pulls = [subprocess.Popen([BINARY, "pull", self.url], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
        for pull in pulls:
            _, stderr = pull.communicate(timeout=60)
            self.assertEqual(pull.returncode, 0, stderr)
        self.assertEqual(self.stored(), CONTENT)
        self.assertEqual(len(list((self.folder / "home/blobs").iterdir())), 1)

    def test_killed_in_the_middle_it_leaves_nothing_broken(self):
        self.offer(CONTENT * 4)
        self.server.http.pause = threading.Event()
        pull = subprocess.Popen([BINARY, "pull", self.url], env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not self.server.requests and time.monotonic() < deadline:
            time.sleep(0.02)
        pull.send_signal(signal.SIGKILL)
        pull.wait()
        self.server.http.pause.set()
        self.assertEqual(self.json_of("list"), [])
        self.succeed("pull", self.url)
        self.assertEqual(self.stored(), CONTENT * 4)

    def test_a_full_disk_is_said_and_survived(self):
        self.offer()

        def small_files_only():  # stands for a full disk: writing past this fails
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

        self.fail_with(5, "pull", self.url, preexec_fn=small_files_only)
        self.assertEqual(self.json_of("list"), [])
        self.succeed("pull", self.url, "--sha256", SHA256)
        self.assertEqual(self.stored(), CONTENT)


    def test_a_page_instead_of_a_model_is_said_and_not_kept(self):
        self.offer(b"<!DOCTYPE html><title>Sign in</title>")
        self.assertIn("a web page", self.fail_with(4, "pull", self.url))
        self.assertEqual(self.json_of("list"), [])
        self.offer()
        self.succeed("pull", self.url, "--sha256", SHA256)
        self.assertEqual(self.ranges()[-1], None)


class LocalPull(CliTest):
    def test_a_file_becomes_a_model_of_its_own(self):
        path = self.folder / "My-Model.gguf"
        path.write_bytes(MODEL)
        self.succeed("pull", path)
        path.unlink()
        (model,) = self.json_of("list")
        self.assertEqual((model["name"], model["bytes"]), ("my-model", len(MODEL)))
        self.assertEqual(pathlib.Path(model["path"]).read_bytes(), MODEL)

    def test_removing_frees_what_no_other_shares(self):
        path = self.folder / "a.gguf"
        path.write_bytes(MODEL)
        self.succeed("pull", path)
        self.succeed("pull", path, "--name", "b")
        self.assertEqual(self.json_of("rm", "a")["freed_bytes"], 0)
        self.assertEqual(self.json_of("rm", "b")["freed_bytes"], len(MODEL))
        self.assertEqual(self.json_of("list"), [])

    def test_bad_requests(self):
        path = self.folder / "a.gguf"
        path.write_bytes(MODEL)
        self.fail_with(2, "pull", path, "--name", "../escape")
        self.fail_with(2, "pull", path, "--sha256", "short")
        self.fail_with(4, "pull", path, "--sha256", "0" * 64)
        self.fail_with(3, "pull", "nothing-like-this")
        self.fail_with(2, "pull", "http://localhost/m.gguf")
        self.fail_with(2, "pull", self.folder)
        self.fail_with(3, "rm", "a")

    def test_a_store_that_cannot_be_written_says_so(self):
        path = self.folder / "a.gguf"
        path.write_bytes(MODEL)
        (self.folder / "file").write_text("")
        self.assertIn("EDGEWISE_HOME", self.fail_with(2, "pull", path, env={"EDGEWISE_HOME": str(self.folder / "file")}))
        if os.geteuid() != 0:
            (self.folder / "home").mkdir(mode=0o500)
            self.fail_with(7, "pull", path)

    def test_a_damaged_entry_is_named(self):
        path = self.folder / "a.gguf"
        path.write_bytes(MODEL)
        self.succeed("pull", path)
        (self.folder / "home/models/a/manifest.json").write_text("{")
        self.assertIn("models/a/manifest.json", self.fail_with(4, "list"))
