"""--draft: a second model changes what is computed, and no answer."""
import json
import re
import subprocess
import urllib.request

import tiny_gguf
from support import BINARY, CliTest


class DraftModel(CliTest):
    def setUp(self):
        super().setUp()
        self.model = tiny_gguf.write(self.folder / "tiny.gguf", layers=4)
        self.draft = tiny_gguf.write(self.folder / "draft.gguf", layers=1)

    def answer(self, *options, temperature=0):
        return self.json_of("run", self.model, "hello world", "--raw", "--max-tokens", 150, "--temperature", temperature, "--seed", 3, *options)

    def test_the_text_is_the_same_with_any_draft_model(self):
        for temperature in (0, 1):
            plain = self.answer("--no-speculation", temperature=temperature)
            for draft in (self.draft, self.model):
                drafted = self.answer("--draft", draft, temperature=temperature)
                for field in ("text", "finish", "completion_tokens"):
                    self.assertEqual(drafted[field], plain[field])
                self.assertLessEqual(drafted["model_accepted_tokens"], drafted["model_drafted_tokens"])
                self.assertLessEqual(drafted["model_drafted_tokens"], drafted["drafted_tokens"])

    def test_another_vocabulary_is_an_error_that_names_the_difference(self):
        other = tiny_gguf.write(self.folder / "other.gguf", rename={"hello": "howdy"})
        message = self.fail_with(2, "run", self.model, "x", "--draft", other)
        self.assertIn("draft model other.gguf: the vocabularies differ: token ", message)
        self.assertIn('"hello" in one and "howdy" in the other', message)
        self.assertIn("howdy", self.fail_with(2, "serve", self.model, "--port", 0, "--draft", other))

    def test_what_makes_no_sense_is_refused(self):
        self.assertIn("--no-speculation", self.fail_with(2, "run", self.model, "x", "--draft", self.draft, "--no-speculation"))
        self.assertIn("--no-speculation", self.fail_with(2, "serve", self.model, "--draft", self.draft, "--no-speculation"))
        self.assertIn("2 models", self.fail_with(2, "serve", self.model, self.draft, "--draft", self.draft))
        self.run_edgewise("run", self.model, "x", "--draft", "nosuchmodel")
        self.assertIn("nosuchmodel", self.run_edgewise("run", self.model, "x", "--draft", "nosuchmodel").stderr)

    def serve(self, *arguments):
        process = subprocess.Popen([BINARY, "serve", *map(str, arguments), "--port", "0"], env=self.env, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return re.search(r"https?://[^ ]+:\d+", process.stdout.readline()).group(0)

    def ask(self, url, model):
        body = json.dumps({"model": model, "prompt": "hello world", "max_tokens": 100, "seed": 5, "temperature": 0.8, "n": 3}).encode()
        request = urllib.request.Request(url + "/v1/completions", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            return [choice["text"] for choice in json.loads(reply.read())["choices"]]

    def test_one_of_two_served_models_has_one(self):
        url = self.serve(self.model, self.draft, "--draft", self.model, "--draft", "-")
        plain = self.serve(self.model, self.draft, "--no-speculation")
        for model in ("tiny", "draft"):
            self.assertEqual(self.ask(url, model), self.ask(plain, model))
        with urllib.request.urlopen(url + "/metrics") as reply:
            metrics = reply.read().decode()
        blocks = re.findall(r'^edgewise_draft_model_kv_blocks\{model="(\w+)"\} (\d+)$', metrics, re.MULTILINE)
        self.assertEqual([name for name, _ in blocks], ["tiny"])
        self.assertGreater(int(blocks[0][1]), 0)
        self.assertIn('edgewise_draft_model_seconds_total{model="tiny"}', metrics)
