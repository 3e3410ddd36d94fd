"""Models, health, metrics, API keys, CORS."""
import openai
import pytest

import program


def test_models(client, server):
    models = client.models.list().data
    assert [m.id for m in models] == [program.MODEL] and models[0].object == "model"
    assert client.models.retrieve(program.MODEL).id == program.MODEL
    assert server.request("GET", "/v1/models/other").status == 404


def test_health_and_readiness(server):
    assert server.request("GET", "/health").status == 200
    assert server.request("GET", "/ready").status == 200


def test_metrics_are_prometheus_text(server):
    before = server.sequences_so_far()
    server.chat([{"role": "user", "content": "Hi"}], max_tokens=3)
    assert server.sequences_so_far() == before + 1
    text = server.request("GET", "/metrics").text
    assert "# TYPE edgewise_" in text and "# HELP edgewise_" in text


def test_alias():
    with program.serving(program.MODEL, "--alias", "my-model") as server:
        with openai.OpenAI(base_url=server.url + "/v1", api_key="none") as client:
            assert client.models.list().data[0].id == "my-model"
            assert client.chat.completions.create(model="my-model", messages=[{"role": "user", "content": "Hi"}], max_tokens=2).model == "my-model"


def test_api_keys():
    with program.serving(program.MODEL, env={"EDGEWISE_API_KEYS": "first-key,second-key"}) as server:
        for key, good in (("first-key", True), ("second-key", True), ("wrong", False), ("", False), ("first-key,second-key", False)):
            reply = server.request("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})
            assert reply.status == (200 if good else 401)
        reply = server.request("POST", "/v1/chat/completions", {"model": program.MODEL, "messages": []})
        assert reply.status == 401 and reply.json["error"]["code"] == "invalid_api_key"
        assert server.request("GET", "/health").status == 200
        with openai.OpenAI(base_url=server.url + "/v1", api_key="nope", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                client.models.list()
        assert "first-key" not in "".join(server.output)


def test_cors_only_when_asked_for(server):
    origin = {"Origin": "https://app.example"}
    assert "Access-Control-Allow-Origin" not in server.request("GET", "/v1/models", headers=origin).headers
    with program.serving(program.MODEL, "--cors-origin", "https://app.example") as open_server:
        reply = open_server.request("GET", "/v1/models", headers=origin)
        assert reply.headers["Access-Control-Allow-Origin"] == "https://app.example"
        preflight = open_server.request("OPTIONS", "/v1/chat/completions", headers={
            **origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"})
        assert preflight.status in (200, 204) and "POST" in preflight.headers["Access-Control-Allow-Methods"]
        other = open_server.request("GET", "/v1/models", headers={"Origin": "https://evil.example"})
        assert other.headers.get("Access-Control-Allow-Origin") in (None, "https://app.example")
