"""The commands on tiny models: what they print, what they refuse, and that figures agree with each other."""
import json
import math
import pty
import os
import struct
import subprocess

import tiny_gguf
from support import BINARY, CliTest

TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"


class Commands(CliTest):
    @classmethod
    def setUpClass(cls):
        import pathlib
        import tempfile
        cls.models = tempfile.TemporaryDirectory(prefix="edgewise-models-")
        cls.addClassCleanup(cls.models.cleanup)
        folder = pathlib.Path(cls.models.name)
        cls.base = tiny_gguf.write(folder / "base.gguf")
        cls.chat = tiny_gguf.write(folder / "chat.gguf", chat_template=TEMPLATE)
        cls.vocabulary = tiny_gguf.write(folder / "vocabulary.gguf", with_weights=False)

    def test_a_shortlist_that_has_no_effect_is_said_and_changes_nothing(self):
        ask = ("run", self.base, "hello", "--max-tokens", 5, "--temperature", 0)
        done = self.succeed(*ask, "--shortlist")
        self.assertIn("the shortlist has no effect with base.gguf: its output layer is F32", done.stderr)
        plain = self.succeed(*ask)
        self.assertEqual(done.stdout, plain.stdout)
        self.assertNotIn("shortlist", plain.stderr)
        text = self.folder / "text.txt"
        text.write_text("hello world " * 40)
        self.assertIn("--shortlist", self.fail_with(2, "bench", self.base, "--text", text))

    def test_tokenize_works_on_a_vocabulary(self):
        self.assertEqual(self.succeed("tokenize", self.vocabulary, "hello world", "--ids").stdout.split()[0], "1")
        tokens = self.json_of("tokenize", self.vocabulary, "hello world")
        self.assertEqual([t["stored"] for t in tokens["tokens"]], ["<s>", "\u2581hello", "\u2581world"])
        self.assertEqual(tokens["count"], 3)

    def test_tokenize_decodes_what_it_encoded(self):
        text = "Grüße,\tKöln! \U0001F642"
        ids = self.succeed("tokenize", self.vocabulary, "--ids", "--no-special", stdin=text).stdout
        self.assertEqual(self.succeed("tokenize", self.vocabulary, "--decode", stdin=ids).stdout, text + "\n")

    def test_tokenize_refuses_ids_outside_the_vocabulary(self):
        self.assertIn("99999", self.fail_with(2, "tokenize", self.vocabulary, "--decode", "1 99999"))
        self.assertIn("x2", self.fail_with(2, "tokenize", self.vocabulary, "--decode", "1 x2"))
        self.fail_with(2, "tokenize", self.vocabulary, "text", "--file", "too")

    def test_show_says_what_is_there_and_what_it_takes(self):
        shown = self.json_of("show", self.base)
        self.assertEqual(shown["metadata"]["llama.embedding_length"], tiny_gguf.WIDTH)
        names = {t["name"]: t for t in shown["tensors"]}
        self.assertEqual(names["blk.1.ffn_down.weight"]["shape"], [tiny_gguf.FFN, tiny_gguf.WIDTH])
        self.assertEqual(sum(t["bytes"] for t in shown["tensors"]), shown["memory"]["weight_bytes"])
        head = tiny_gguf.WIDTH // tiny_gguf.HEADS
        self.assertEqual(shown["memory"]["kv_bytes_per_position"], tiny_gguf.LAYERS * tiny_gguf.KV_HEADS * 2 * head * 2)

    def test_keys_and_values_of_8_bits_take_half_and_change_little(self):
        head = tiny_gguf.WIDTH // tiny_gguf.HEADS
        shown = self.json_of("show", self.base, "--kv-type", "q8")["memory"]
        self.assertEqual(shown["kv_type"], "q8")
        self.assertEqual(shown["kv_bytes_per_position"], tiny_gguf.LAYERS * tiny_gguf.KV_HEADS * (2 * head + 8))
        self.assertEqual(shown["kv_bytes_at_default_context"], shown["kv_bytes_per_position"] * shown["default_context"])
        scores = {flags: self.json_of("perplexity", self.base, self.perplexity_text(), "--context", 64, *flags)
                  for flags in ((), ("--kv-type", "f16"), ("--kv-type", "q8"), ("--kv-type", "q8", "--oracle"))}
        f16, q8, oracle = (scores[flags]["perplexity"] for flags in ((), ("--kv-type", "q8"), ("--kv-type", "q8", "--oracle")))
        self.assertEqual(scores[("--kv-type", "f16")]["perplexity"], f16)
        self.assertNotEqual(q8, f16)
        self.assertLess(abs(q8 / f16 - 1), 0.01)
        self.assertLess(abs(q8 / oracle - 1), 0.01)
        self.assertTrue(self.succeed("run", self.base, "hello", "--max-tokens", 8, "--kv-type", "q8").stdout)

    def test_an_unknown_type_of_keys_and_values_is_refused(self):
        for command in (("run", self.base, "hello"), ("serve", self.base, "--port", 0), ("bench", self.base), ("show", self.base),
                        ("perplexity", self.base, self.perplexity_text())):
            self.assertIn("f16 or q8", self.fail_with(2, *command, "--kv-type", "q4"))

    def test_show_of_a_vocabulary_says_why_it_cannot_run(self):
        self.assertIn("cannot_run", self.json_of("show", self.vocabulary))
        self.fail_with(4, "run", self.vocabulary, "x")

    def test_text_in_a_file_cannot_command_the_terminal(self):
        path = tiny_gguf.write(self.folder / "evil.gguf", with_weights=False, extra=[("general.description", tiny_gguf.STRING, "\x1b[2J\x9b")])
        shown = self.succeed("show", path).stdout
        self.assertNotIn("\x1b", shown)
        self.assertNotIn("\x9b", shown)
        self.assertIn("\\x1b", shown)

    def test_a_model_without_template_continues_text_and_says_so(self):
        done = self.succeed("run", self.base, "hello", "--max-tokens", 8, "--seed", 1)
        self.assertIn("no chat template", done.stderr)
        raw = self.succeed("run", self.base, "hello", "--max-tokens", 8, "--seed", 1, "--raw")
        self.assertEqual(raw.stderr, "")
        self.assertEqual(raw.stdout, done.stdout)
        self.fail_with(4, "run", self.base, "hello", "--system", "be brief")

    def test_same_seed_same_text_alone_or_with_other_threads(self):
        texts = [self.json_of("run", self.chat, "hello", "--max-tokens", 24, "--seed", seed, "--threads", threads)["text"]
                 for seed, threads in ((7, 1), (7, 2), (8, 1))]
        self.assertEqual(texts[0], texts[1])
        self.assertNotEqual(texts[0], texts[2])

    def test_figures_of_an_answer_fit_together(self):
        answer = self.json_of("run", self.chat, "hello", "--max-tokens", 12, "--seed", 1)
        self.assertLessEqual(answer["completion_tokens"], 12)
        self.assertEqual(answer["finish"], "length" if answer["completion_tokens"] == 12 else "stop")
        self.assertGreaterEqual(answer["total_seconds"], answer["first_token_seconds"])
        self.assertGreater(answer["first_token_seconds_since_process_start"], answer["first_token_seconds"])
        prompt = f"user: hello\nassistant: "
        self.assertEqual(answer["prompt_tokens"], self.json_of("tokenize", self.chat, prompt)["count"])

    def test_sampling_defaults_come_from_the_file(self):
        greedy = tiny_gguf.write(self.folder / "greedy.gguf", chat_template=TEMPLATE, extra=[("general.sampling.temp", tiny_gguf.F32, 0.0)])
        by_file = [self.json_of("run", greedy, "hello", "--max-tokens", 16, "--seed", seed)["text"] for seed in (1, 2)]
        asked = self.json_of("run", self.chat, "hello", "--max-tokens", 16, "--temperature", 0)["text"]
        self.assertEqual(by_file, [asked, asked])

    def test_a_full_context_is_an_error_before_and_an_end_during_an_answer(self):
        self.assertIn("64", self.fail_with(5, "run", self.chat, "word " * 200, "--context", 64))
        answer = self.json_of("run", self.base, "hello", "--raw", "--context", 64, "--seed", 3)
        self.assertLessEqual(answer["prompt_tokens"] + answer["completion_tokens"], 64)

    def test_wrong_options(self):
        for options in (("--temperature", "-1"), ("--top-p", "2"), ("--max-tokens", "0"), ("--threads", "-1"), ("--context", "100000"),
                        ("--raw", "--system", "x"), ("--json-schema", "a", "--grammar", "b")):
            self.assertEqual(self.run_edgewise("run", self.chat, "x", *options).returncode, 2, options)
        self.fail_with(3, "run", self.chat, "x", "--chat-template", self.folder / "missing")
        self.fail_with(2, "run", self.chat, "")

    def test_output_that_cannot_be_written_is_a_failure(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run([BINARY, "show", self.base], stdout=full, stderr=subprocess.PIPE, env=self.env, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)

    def test_a_conversation_reuses_what_it_has(self):
        master, slave = pty.openpty()
        process = subprocess.Popen([BINARY, "run", self.chat, "--max-tokens", "4", "--seed", "1", "--stats"], stdin=slave, stdout=slave,
                                   stderr=slave, env=self.env | {"TERM": "dumb"}, start_new_session=True)
        os.close(slave)
        shown = ""

        def read_until(text, times):
            nonlocal shown
            while shown.count(text) < times:
                shown += os.read(master, 4096).decode(errors="replace")

        read_until("> ", 1)
        os.write(master, b"hello world hello world hello world\n")
        read_until("seed 1", 1)
        os.write(master, b"again\n")
        read_until("seed 1", 2)
        os.write(master, b"/save " + str(self.folder / "saved.json").encode() + b"\n")
        read_until("saved 4 messages", 1)
        os.write(master, b"/exit\n")
        self.assertEqual(process.wait(30), 0)
        os.close(master)
        self.assertIn("(0 from cache)", shown)
        self.assertNotEqual(shown.rsplit(" from cache)", 1)[0].rsplit("(", 1)[1], "0", shown)
        saved = json.loads((self.folder / "saved.json").read_text())
        self.assertEqual([m["role"] for m in saved], ["user", "assistant"] * 2)
        self.assertIn("hello world", (self.folder / "state/edgewise/history").read_text().replace("\\040", " "))

    def perplexity_text(self):
        path = self.folder / "text.txt"
        path.write_text("hello world, how are you? " * 40)
        return path

    def test_perplexity_is_what_its_logits_say(self):
        logits = self.folder / "logits"
        score = self.json_of("perplexity", self.base, self.perplexity_text(), "--context", 64, "--chunks", 2, "--logits-out", logits)
        header, data = logits.read_bytes().split(b"\n", 1)
        header = json.loads(header)
        self.assertEqual((header["windows"], header["rows_per_window"], header["first_position"]), (2, 31, 32))
        at, losses = 0, []
        for _ in range(header["windows"]):
            tokens = struct.unpack_from("<64i", data, at)
            self.assertEqual(tokens[0], 1)  # BOS at the start of every window
            at += 4 * 64
            for row in range(header["rows_per_window"]):
                values = struct.unpack_from(f"<{header['vocab']}f", data, at)
                at += 4 * header["vocab"]
                top = max(values)
                losses.append(math.log(sum(math.exp(v - top) for v in values)) + top - values[tokens[32 + row + 1]])
        self.assertEqual(at, len(data))
        self.assertEqual(score["counted_tokens"], len(losses))
        self.assertAlmostEqual(score["perplexity"], math.exp(sum(losses) / len(losses)), places=6)

    def test_perplexity_of_oracle_and_engine_are_close(self):
        scores = [self.json_of("perplexity", self.base, self.perplexity_text(), "--context", 64, *flag)["perplexity"] for flag in ((), ("--oracle",))]
        self.assertAlmostEqual(scores[0] / scores[1], 1.0, delta=0.01)
        self.assertNotEqual(scores[0], scores[1])

    def test_perplexity_beside_a_reference_gives_an_accuracy(self):
        text, window = self.perplexity_text(), ("--context", 64)
        score = self.json_of("perplexity", self.base, text, *window)
        self.assertNotIn("accuracy", score)
        lower = score["perplexity"] - 0.5
        beside = self.json_of("perplexity", self.base, text, *window, "--reference", lower)
        self.assertAlmostEqual(beside["accuracy"], math.exp(-beside["accuracy_kappa"] * 0.5), places=6)
        self.assertEqual(self.json_of("perplexity", self.base, text, *window, "--reference", score["perplexity"] + 1)["accuracy"], 1)
        itself = self.json_of("perplexity", self.base, text, *window, "--reference", self.base)
        self.assertEqual((itself["reference_perplexity"], itself["accuracy"]), (score["perplexity"], 1))
        self.assertIn("accuracy 1.0000", self.succeed("perplexity", self.base, text, *window, "--reference", self.base).stdout)
        self.fail_with(3, "perplexity", self.base, text, "--reference", "no such model")
        self.assertIn("at least 1", self.fail_with(2, "perplexity", self.base, text, "--reference", "0.5"))
        piped = self.succeed("perplexity", self.base, "-", *window, "--reference", self.base, stdin=text.read_text())
        self.assertIn("accuracy 1.0000", piped.stdout)
        other = tiny_gguf.write(self.folder / "other.gguf", rename={"\u2581hello": "\u2581hallo"})
        self.assertIn("different tokens", self.fail_with(2, "perplexity", self.base, text, *window, "--reference", other))

    def test_perplexity_of_token_ids(self):
        ids = self.folder / "ids"
        ids.write_text(json.dumps([1] + [5, 6, 7] * 50))
        score = self.json_of("perplexity", self.base, "--tokens-file", ids, "--context", 32)
        self.assertEqual(score["counted_tokens"], (151 // 32) * 15)
        self.fail_with(2, "perplexity", self.base)
        self.fail_with(2, "perplexity", self.base, ids, "--tokens-file", ids)
        self.fail_with(2, "perplexity", self.base, "--tokens-file", ids, "--context", 100000)
        ids.write_text("1 2 3")
        self.fail_with(2, "perplexity", self.base, "--tokens-file", ids, "--context", 32)

    def test_bench_refuses_what_does_not_fit(self):
        self.fail_with(2, "bench", self.base, "--prompt", tiny_gguf.CONTEXT + 1)
        self.fail_with(2, "bench", self.base, "--depth", tiny_gguf.CONTEXT)
        self.fail_with(2, "bench", self.base, "--generate", 0)
        self.fail_with(2, "bench", self.base, "--oracle", "--profile")

    def test_bench_profile_accounts_for_the_time_and_the_work(self):
        found = self.json_of("bench", self.base, "--profile", "--prompt", 40, "--generate", 8, "--depth", 0, "--sequences", 3)
        for result in found["results"]:
            phases = {phase["phase"]: phase for phase in result["phases"]}
            self.assertLessEqual(sum(phase["seconds"] for phase in phases.values()), result["profiled_s"])
            self.assertTrue(all(0 <= phase["waiting_s"] <= phase["seconds"] for phase in phases.values()))
            self.assertLessEqual({"residual, norm, codes", "QKV product", "attention", "down product", "output layer"}, set(phases))
            if result["test"] != "prefill":  # whose last layer computes only what is asked for
                macs = sum(phase["int8_share"] * phase["seconds"] for name, phase in phases.items() if "int8_share" in phase and name != "output layer")
                tokens = 8 * result.get("sequences", 1)
                self.assertAlmostEqual(macs * found["ceilings"]["int8_gmac_per_s"] * 1e9 / tokens / (found["macs_per_token"] - found["output_layer_macs"]), 1, places=6)

    def test_bench_prints_rates_with_their_shares(self):
        text = self.succeed("bench", self.base, "--profile", "--prompt", 40, "--generate", 8, "--depth", 0, "--sequences", 3).stdout
        rate = r"\d+\.\d \(\d+ %\)"
        self.assertRegex(text, rf"(?m)^prefill +tokens 40 +\S+ +{rate}$")
        self.assertRegex(text, rf"(?m)^decode +depth 0 +\S+ +{rate} +{rate}$")
        self.assertRegex(text, rf"(?m)^batch +sequences 3 +\S+ +{rate} +{rate}$")
        self.assertRegex(text, rf"(?m)^down product +\d+ .* {rate} +{rate}$")

    def test_bench_figures_fit_together(self):
        found = self.json_of("bench", self.base, "--prompt", "32,100", "--generate", 8, "--depth", "0,100", "--sequences", "1,4")
        self.assertEqual([(r["test"], r.get("tokens", r.get("depth", r.get("sequences")))) for r in found["results"]],
                         [("prefill", 32), ("prefill", 100), ("decode", 0), ("decode", 100), ("batch", 1), ("batch", 4)])
        for result in found["results"]:
            self.assertGreater(result["tokens_per_s"], 0)
            macs = found["macs_per_token"]
            if result["test"] == "prefill":  # only the last token meets the output layer
                macs -= found["output_layer_macs"] * (1 - 1 / result["tokens"])
            self.assertAlmostEqual(result["gmac_per_s"], macs * result["tokens_per_s"] / 1e9, places=6)
            if "dram_share" in result:
                self.assertAlmostEqual(result["dram_share"], result["read_gb_per_s"] / found["ceilings"]["dram_gb_per_s"], places=6)
