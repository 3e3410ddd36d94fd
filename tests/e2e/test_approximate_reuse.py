"""Text behind a changed line, taken over from the prompt before the change: through the official client and the real server."""
import openai
import pytest

import program

DOCUMENT = " ".join(f"Pump {i} of hall {i % 7} was greased on day {i * 3 % 365} by shift {i % 4}." for i in range(1, 45))


def messages(clock):
    return [{"role": "system", "content": f"You help the crew of a plant.\nTime: {clock}\nAnswer from this.\n{DOCUMENT}"},
            {"role": "user", "content": "Which pumps are in hall 3?"}]


def ask(client, clock, approximate=None, **fields):
    if approximate is not None:
        fields["extra_body"] = {"approximate_reuse": approximate}
    return client.chat.completions.create(model=program.MODEL, messages=messages(clock), max_tokens=16, temperature=0, **fields)


def details(reply):
    return reply.usage.prompt_tokens_details


def reused(reply):
    return getattr(details(reply), "approximate_tokens", 0)


def connect(server, key="none"):
    return openai.OpenAI(base_url=server.url + "/v1", api_key=key, max_retries=0, timeout=60)


@pytest.mark.parametrize("kv_type", ["f16", "q8"])
@pytest.mark.parametrize("clock", ["14:52:38", "Friday, 14:52:38, the late shift has begun"])
def test_only_who_asks_for_it_gets_it_and_nobody_else_notices(clock, kv_type):
    options = "--kv-type", kv_type, "--cache-mib", "256"
    with program.serving(program.MODEL, *options) as server, connect(server) as client:
        exact = ask(client, clock).choices[0].message.content
    with program.serving(program.MODEL, *options) as server, connect(server) as client:
        assert reused(ask(client, "09:31:07")) == 0
        approximate = ask(client, clock, True)
        assert reused(approximate) > 0.8 * approximate.usage.prompt_tokens
        assert details(approximate).cached_tokens < 64
        later = ask(client, clock)
        assert details(later).cached_tokens < 128  # nothing but the beginning was left behind
        assert later.choices[0].message.content == exact
        assert server.metrics()['edgewise_tokens_total{kind="prompt_approximate"}'] == reused(approximate)


def test_it_comes_as_a_header_and_as_a_keys_default_and_keys_do_not_share(tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("plain\ncareless approximate_reuse=true\n")
    with program.serving(program.MODEL, "--api-key-file", keys, "--cache-mib", "256") as server:
        with connect(server, "plain") as plain, connect(server, "careless") as careless:
            ask(plain, "09:31:07")
            assert reused(ask(careless, "14:52:38")) == 0
            assert reused(ask(careless, "15:00:00")) > 500
            assert reused(ask(careless, "16:00:00", False)) == 0
            assert reused(ask(plain, "14:52:38", extra_headers={"X-Edgewise-Approximate-Reuse": "true"})) > 500
            stream = ask(plain, "17:30:00", True, stream=True, stream_options={"include_usage": True})
            assert [chunk.usage.prompt_tokens_details.approximate_tokens for chunk in stream if chunk.usage][0] > 500
            with pytest.raises(openai.BadRequestError):
                ask(plain, "09:31:07", "yes")
