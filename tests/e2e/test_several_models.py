"""Several models in one server: each answers as it does alone, and requests name who is to."""
import threading

import openai
import pytest

import program

QUESTION = [{"role": "user", "content": "Name three colours."}]


def connect(server):
    return openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120)


def answer(client, model, **more):
    reply = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=24, temperature=0.8, seed=7, **more)
    return reply.model, reply.choices[0].message.content


@pytest.fixture(scope="module")
def twins():
    """One model twice: what is shared between two engines shows without a second model at hand."""
    with program.serving([program.MODEL, program.MODEL], "--alias", "left", "--alias", "right", "--accuracy", "0.9", "--accuracy", "-",
                         "--context", "1024", "--context", "-") as server:
        yield server
    assert server.process.returncode == 0


def test_the_named_one_answers(twins):
    with connect(twins) as client:
        assert [model.id for model in client.models.list()] == ["left", "right"]
        assert answer(client, "left")[0] == "left"
        assert answer(client, "right", extra_body={"priority": 1})[0] == "right"
        with pytest.raises(openai.NotFoundError) as unknown:
            answer(client, program.MODEL)
        assert unknown.value.code == "model_not_found" and "left" in str(unknown.value) and "right" in str(unknown.value)
        with pytest.raises(openai.BadRequestError):
            answer(client, "right", extra_body={"min_accuracy": 0.5})  # its accuracy is not known
        assert answer(client, "left", extra_body={"min_accuracy": 0.9})[0] == "left"
        chunks = list(client.chat.completions.create(model="right", messages=QUESTION, max_tokens=4, stream=True))
        assert {chunk.model for chunk in chunks} == {"right"}


def test_an_answer_does_not_depend_on_the_other_model(twins):
    with connect(twins) as client:
        alone = answer(client, "left")[1]
        stop = threading.Event()

        def keep_busy():
            while not stop.is_set():
                client.completions.create(model="right", prompt="word " * 300, max_tokens=20, extra_body={"ignore_eos": True})

        others = [threading.Thread(target=keep_busy) for _ in range(3)]
        for other in others:
            other.start()
        try:
            program.wait_until(lambda: twins.metrics()["edgewise_sequences_running"] > 0, 20, "the other model is busy")
            beside = [answer(client, "left")[1] for _ in range(3)]
        finally:
            stop.set()
            for other in others:
                other.join()
        assert beside == [alone] * 3
        assert twins.metrics()["edgewise_turn_wait_seconds_total"] > 0


def test_a_group_answers_by_whoever_is_accurate_enough():
    options = [option for values in (("--alias", "small", "good"), ("--accuracy", 0.9, 0.97), ("--group", "pair", "pair"))
               for value in values[1:] for option in (values[0], value)]
    with program.serving([program.MODEL, program.MODEL], *options) as server, connect(server) as client:
        assert [model.id for model in client.models.list()] == ["small", "good", "pair"]
        assert answer(client, "pair")[0] in ("small", "good")
        assert {answer(client, "pair", extra_body={"min_accuracy": 0.95})[0] for _ in range(3)} == {"good"}
        assert answer(client, "pair", extra_body={"min_accuracy": 0.95, "deadline_ms": 60000})[0] == "good"
        with pytest.raises(openai.BadRequestError) as too_much:
            answer(client, "pair", extra_body={"min_accuracy": 0.98})
        assert too_much.value.code == "accuracy_unavailable" and "0.97" in str(too_much.value)
        with pytest.raises(openai.InternalServerError) as too_soon:  # refused as by one model, not begun
            client.completions.create(model="pair", prompt="word " * 1500, max_tokens=400, extra_body={"deadline_ms": 500, "ignore_eos": True})
        assert too_soon.value.status_code == 503 and too_soon.value.code == "deadline_unreachable"
        assert answer(client, "small")[1] == answer(client, "good")[1]


def test_a_group_of_little_context_starts_and_answers():
    with program.serving(program.MODEL, "--group", "few", "--context", "64") as server, connect(server) as client:
        assert answer(client, "few")


def test_both_finish_what_they_began_when_the_server_stops():
    with program.serving([program.MODEL, program.MODEL], "--alias", "a", "--alias", "b") as server:
        finished = []

        def ask(model):
            with connect(server) as client:
                reply = client.completions.create(model=model, prompt="Once", max_tokens=150, extra_body={"ignore_eos": True})
                finished.append((model, reply.usage.completion_tokens))

        asked = [threading.Thread(target=ask, args=(model,)) for model in ("a", "b")]
        for thread in asked:
            thread.start()
        program.wait_until(lambda: server.metrics()["edgewise_sequences_running"] == 2, 20, "both are busy")
        assert server.stop() == 0
        for thread in asked:
            thread.join()
        assert sorted(finished) == [("a", 150), ("b", 150)]


def test_one_that_cannot_be_loaded_is_named(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(20))
    done = program.run("serve", program.MODEL, broken, "--port", 0)
    assert done.returncode == 4 and "broken.gguf" in done.stderr


@pytest.mark.parametrize("options, complaint", [
    (["--alias", "x"], "--alias was given 1 times for 2 models"),
    (["--accuracy", "1.5", "--accuracy", "-"], "--accuracy"),
    (["--group", "x"], "--group was given 1 times"),
    (["--context", "many", "--context", "-"], "--context"),
    ([], "--alias"),  # both would have one name
])
def test_options_that_do_not_fit_the_models(options, complaint):
    done = program.run("serve", program.MODEL, program.MODEL, "--port", 0, *options)
    assert done.returncode == 2 and complaint in done.stderr


@pytest.mark.large
def test_chat_and_embeddings_side_by_side():
    with program.serving([program.MODEL, "gemma3", "minilm"]) as server, connect(server) as client:
        assert answer(client, program.MODEL)[0] == program.MODEL
        assert client.completions.create(model="gemma3", prompt="Once", max_tokens=4).model == "gemma3"  # has no chat template
        assert len(client.embeddings.create(model="minilm", input="a text").data[0].embedding) == 384
        with pytest.raises(openai.BadRequestError):
            client.embeddings.create(model="gemma3", input="a text")
