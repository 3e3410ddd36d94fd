"""plan and simulate: decisions over files, sweeps, claims; figures agree with each other and mistakes are named."""
import csv
import json
import xml.etree.ElementTree as ET

import tiny_gguf
from support import CliTest

WIRED = {"nodes": [{"name": "box", "memory_bytes": 4e9, "max_requests": 2, "variants": [
    {"name": "small", "perplexity": 12.0, "reference_perplexity": 10.0, "weight_bytes": 1e9, "kv_bytes_per_token": 1e5,
     "step": {"launch_s": 0, "weights_s": 0.01, "row_s": 0.001, "position_s": 0, "prompt_token_s": 0.001, "prompt_pair_s": 0}},
    {"name": "good", "perplexity": 10.0, "reference_perplexity": 10.0, "weight_bytes": 2e9, "kv_bytes_per_token": 1e5,
     "step": {"launch_s": 0, "weights_s": 0.02, "row_s": 0.001, "position_s": 0, "prompt_token_s": 0.001, "prompt_pair_s": 0}}]}]}


class Scheduling(CliTest):
    def write(self, name, content):
        path = self.folder / name
        path.write_text(json.dumps(content))
        return path

    def test_plan_serves_what_fits_and_says_why_not(self):
        requests = [{"id": "easy", "prompt_tokens": 100, "output_tokens": 11, "deadline_s": 2},
                    {"id": "picky", "prompt_tokens": 100, "output_tokens": 11, "deadline_s": 2, "min_accuracy": 0.9},
                    {"id": "third", "prompt_tokens": 100, "output_tokens": 11, "deadline_s": 2, "value": 0.5},
                    {"id": "hopeless", "prompt_tokens": 100, "output_tokens": 11, "deadline_s": 0.05}]
        path = self.write("plan.json", WIRED | {"requests": requests})
        plan = self.json_of("plan", path)
        by_id = {r["id"]: r for r in plan["requests"]}
        self.assertEqual([r["id"] for r in plan["requests"] if r["served"]], ["easy", "picky"])
        self.assertEqual(by_id["picky"]["variant"], "good")
        self.assertEqual(by_id["third"]["reason"], "no room beside the others")
        self.assertIn("alone", by_id["hopeless"]["reason"])
        self.assertEqual((plan["value"], plan["upper_bound"], plan["has_guarantee"]), (2, 2, True))
        self.assertEqual(plan["nodes"], [{"name": "box", "requests": 2, "memory_bytes": 3e9 + 2 * 111 * 1e5, "has_radio": False,
                                          "uplink_share": 0, "downlink_share": 0}])
        # Two prompts of 0.1 s; then ten steps: alone of its variant each, 0.01 s and 0.02 s.
        self.assertAlmostEqual(by_id["picky"]["last_token_s"], 0.2 + 10 * 0.03, places=9)
        text = self.succeed("plan", path).stdout
        self.assertIn("no radio link: bandwidth is not constrained", text)
        self.assertIn("not served: no room beside the others", text)

    def test_plan_gives_radio_shares_on_the_papers_nodes(self):
        requests = [{"prompt_tokens": 128, "output_tokens": 128, "deadline_s": 1.9, "gains": {"server": 1e-3 * (i + 1)}} for i in range(3)]
        plan = self.json_of("plan", "-", stdin=json.dumps({"requests": requests}))
        for request in plan["requests"]:
            self.assertTrue(request["served"])
            self.assertGreater(request["uplink_share"], 0)
        for node in plan["nodes"]:
            shares = [r["uplink_share"] for r in plan["requests"] if r["node"] == node["name"]]
            self.assertAlmostEqual(node["uplink_share"], sum(shares))
            self.assertLessEqual(node["uplink_share"], 1)

    def test_more_requests_than_fit_memory_are_refused(self):
        for option, value in (("--rate", "1e300"), ("--seconds", "1e300"), ("--seconds", "nan")):
            with self.subTest(option=option, value=value):
                self.assertIn("requests", self.fail_with(2, "simulate", "gateway", option, value))

    def test_requests_of_a_file_run_at_their_arrival(self):
        # Alone each takes 0.1 s of prompt and 10 steps of 0.02 s; the second comes when the first is done, or with it.
        one = {"prompt_tokens": 100, "output_tokens": 11, "deadline_s": 0.31, "min_accuracy": 0.9}
        apart = self.write("apart.json", [one | {"arrival_s": 0.35}, one])
        together = self.write("together.json", [one, one])
        profile = self.write("box.json", WIRED)
        options = ("--policy", "ot-gah", "--policy", "continuous-fcfs")
        found = {r["policy"]: r for r in self.json_of("simulate", profile, "--requests", apart, *options)}
        for policy in ("ot-gah", "continuous-fcfs"):
            self.assertEqual((found[policy]["offered"], found[policy]["in_time"], found[policy]["late"]), (2, 2, 0))
            self.assertAlmostEqual(found[policy]["end_s"], 0.65)
        found = {r["policy"]: r for r in self.json_of("simulate", profile, "--requests", together, *options)}
        self.assertEqual(found["ot-gah"]["in_time"], 1)
        self.assertEqual(found["continuous-fcfs"]["in_time"], 0)
        self.assertIn("in time", self.succeed("simulate", profile, "--requests", together, *options).stdout)
        self.assertIn("arrival_s", self.fail_with(2, "simulate", profile, "--requests", self.write("bad.json", [one | {"arrival_s": -1}])))

    def test_a_measured_profile_is_one_that_simulate_takes(self):
        model = self.folder / "tiny.gguf"
        tiny_gguf.write(model)
        path = self.folder / "here.json"
        self.succeed("profile", model, "--threads", 1, "--output", path)
        profile = json.loads(path.read_text())
        step = profile["nodes"][0]["variants"][0]["step"]
        self.assertTrue(all(value >= 0 for value in step.values()))
        self.assertGreater(step["launch_s"] + step["weights_s"] + step["row_s"], 0)
        rows = self.json_of("simulate", path, "--seeds", 2, "--policy", "ot-gah")
        self.assertGreater(rows[0]["goodput_per_s"], 0)
        for perplexity in ("nan", "inf", "-5", "0.5"):
            self.assertIn("at least 1", self.fail_with(2, "profile", model, "--perplexity", perplexity, "--reference-perplexity", 1))
        self.assertIn("belong together", self.fail_with(2, "profile", model, "--perplexity", 12))

    def test_a_plan_has_no_arrivals(self):
        one = {"prompt_tokens": 1, "output_tokens": 1}
        for arrival in (0, 1.5):
            message = self.fail_with(2, "plan", self.write("late.json", WIRED | {"requests": [one, one | {"arrival_s": arrival}]}))
            self.assertIn("requests[1]", message)
            self.assertIn("arrival_s", message)

    def test_where_a_profile_can_not_be_written_nothing_is_measured(self):
        for path in (self.folder / "no" / "such.json", self.folder):
            self.assertIn("cannot write", self.fail_with(1, "profile", "no such model", "--output", path))
        there = self.write("there.json", {"keep": 1})
        self.fail_with(3, "profile", "no such model", "--output", there)
        self.assertEqual(json.loads(there.read_text()), {"keep": 1})
        self.fail_with(3, "profile", "no such model", "--output", self.folder / "new.json")
        self.assertFalse((self.folder / "new.json").exists())

    def test_plan_names_mistakes(self):
        self.fail_with(3, "plan", self.folder / "missing.json")
        self.assertIn("requests", self.fail_with(2, "plan", self.write("none.json", WIRED)))
        self.assertIn("prompt_tokens", self.fail_with(2, "plan", self.write("bad.json", {"requests": [{}]})))
        self.assertIn("colour", self.fail_with(2, "plan", self.write("odd.json", {"colour": 1, "requests": []})))
        broken = self.folder / "broken.json"
        broken.write_text('{"requests": [\n}')
        self.assertIn("line 2", self.fail_with(4, "plan", broken))
        good = self.write("good.json", {"requests": [{"prompt_tokens": 1, "output_tokens": 1}]})
        self.assertIn("gpt", self.fail_with(3, "plan", good, "--model", "gpt"))
        self.fail_with(2, "plan", good, "--limit-ms", "-1")

    def test_simulate_writes_the_same_figures_everywhere(self):
        args = ("simulate", "--node", "server", "--rate", "5,40", "--quantizer", "w4a16", "--seeds", 4, "--seconds", 10)
        rows = self.json_of(*args, "--csv", self.folder / "out.csv", "--plots", self.folder / "plots")
        self.assertEqual(rows, self.json_of(*args))
        with open(self.folder / "out.csv", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        self.assertEqual(len(table), len(rows))
        for row, line in zip(rows, table):
            self.assertEqual((line["policy"], int(line["seeds"])), (row["policy"], 4))
            self.assertAlmostEqual(float(line["goodput_per_s"]), row["goodput_per_s"], places=4)
            self.assertLessEqual(row["served_share"] + row["late_share"], 1)
        best = {rate: max(r["goodput_per_s"] for r in rows if r["rate_per_s"] == rate) for rate in (5, 40)}
        for row in rows:
            if row["policy"] == "ot-gah":
                self.assertEqual(row["late_share"], 0)
                self.assertEqual(row["goodput_per_s"], best[row["rate_per_s"]])
        (plot,) = (self.folder / "plots").iterdir()
        svg = ET.parse(plot).getroot()
        lines = svg.findall("{http://www.w3.org/2000/svg}polyline")
        self.assertEqual(len(lines), len({r["policy"] for r in rows}))

    def test_simulate_names_mistakes(self):
        for options in (("--rate", "fast"), ("--rate", "-1"), ("--latency", "2"), ("--latency", "2:1"), ("--policy", "magic"), ("--seeds", 0),
                        ("--seconds", "-3"), ("--claim", "R9"), ("--policy", "continuous-fcfs")):
            self.fail_with(2, "simulate", *options)
        self.fail_with(3, "simulate", "--node", "moon")
        self.fail_with(5, "simulate", "--policy", "brute-force", "--rate", 200, "--seeds", 1)
        self.fail_with(1, "simulate", "--rate", 1, "--seeds", 1, "--csv", self.folder / "no" / "such" / "folder.csv")

    def test_claims_hold_and_say_so_on_the_last_line(self):
        for claim in ("R1", "R2", "R4"):
            last = self.succeed("simulate", "--claim", claim, "--seeds", 2).stdout.rstrip().splitlines()[-1]
            self.assertTrue(last.startswith(f"{claim} holds: "), last)
            self.assertIs(self.json_of("simulate", "--claim", claim, "--seeds", 2)["holds"], True)
