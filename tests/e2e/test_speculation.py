"""Speculation changes the speed and nothing else."""
import concurrent.futures
import json

import pytest

import program

LETTER = ("The carrier tells us that the fans will arrive at your address on Thursday, 12 May, between eight in the morning and noon. "
          "The driver will call you half an hour before he arrives. If this day does not suit you, please call the number below.")
COPY = f"Repeat this text three times, word for word:\n\n{LETTER}\n\n{LETTER}"


def both(*args, stdin=None):
    return [program.run_json("run", program.MODEL, *args, *flags, stdin=stdin) for flags in ((), ("--no-speculation",))]


@pytest.mark.parametrize("options", [
    ("--temperature", 0), ("--temperature", 0.8, "--seed", 3), ("--temperature", 0.3, "--seed", 4, "--repetition-penalty", 1.1)])
def test_the_text_is_the_same(options):
    fast, plain = both(COPY, "--max-tokens", 120, *options)
    assert fast["text"] == plain["text"] and fast["finish"] == plain["finish"]
    assert fast["completion_tokens"] == plain["completion_tokens"]
    assert fast["accepted_tokens"] <= fast["drafted_tokens"]
    assert plain["drafted_tokens"] == 0


def test_a_copy_is_guessed():
    fast, _ = both(COPY, "--max-tokens", 120, "--temperature", 0)
    # How many depends on what steps cost meanwhile, so on what else the machine does; benchmarks/speculation.py measures it.
    assert fast["accepted_tokens"] > 10


def test_json_is_the_same(tmp_path):
    schema = tmp_path / "schema.json"
    item = {"type": "object", "properties": {"day": {"type": "string"}, "hour": {"type": "integer"}}, "required": ["day", "hour"],
            "additionalProperties": False}
    schema.write_text(json.dumps({"type": "array", "items": item, "minItems": 4, "maxItems": 6}))
    fast, plain = both("The opening hours of each day, as JSON.", "--json-schema", schema, "--max-tokens", 200, "--temperature", 0.5, "--seed", 2)
    assert fast["text"] == plain["text"]
    if fast["finish"] == "stop":
        assert len(json.loads(fast["text"])) >= 4


def test_answers_beside_each_other_are_the_same_and_counted():
    def ask(server, seed):
        return server.chat([{"role": "user", "content": COPY}], max_tokens=80, temperature=0.3, seed=seed, logprobs=True, top_logprobs=2).json["choices"]

    answers = []
    for flags in ((), ("--no-speculation",)):
        with program.serving(program.MODEL, *flags) as server, concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers.append(list(pool.map(lambda seed: ask(server, seed), range(6))))
            metrics = server.metrics()
            drafted, accepted = (metrics[f"edgewise_{name}_tokens_total"] for name in ("drafted", "accepted"))
            assert 0 <= accepted <= drafted
            assert (drafted == 0) if flags else True
    assert answers[0] == answers[1]


def test_a_draft_model_changes_nothing():
    """The model as its own: its guesses are right, whether or not they pay."""
    def ask(server, seed):
        message = {"role": "user", "content": "Tell me a story about a fox."}
        return server.chat([message], max_tokens=60, temperature=0.7, seed=seed, logprobs=True, top_logprobs=2).json["choices"]

    answers = []
    for flags in (("--draft", program.MODEL), ("--no-speculation",)):
        with program.serving(program.MODEL, *flags) as server, concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers.append(list(pool.map(lambda seed: ask(server, seed), range(6))))
            metrics = server.metrics()
            if "--draft" in flags:
                assert metrics["edgewise_draft_model_kv_blocks"] > 0
                assert metrics["edgewise_draft_model_accepted_tokens_total"] <= metrics["edgewise_draft_model_drafted_tokens_total"]
                assert metrics["edgewise_draft_model_drafted_tokens_total"] <= metrics["edgewise_drafted_tokens_total"]
    assert answers[0] == answers[1]
