"""Embeddings of all-MiniLM-L6-v2 through the official client."""
import math

import openai
import pytest

import program

pytestmark = pytest.mark.large
SENTENCES = ["A man is eating food.", "Someone has a meal.", "The stock market fell sharply."]


@pytest.fixture(scope="module")
def embedding_server():
    with program.serving("minilm") as server:
        yield server


@pytest.fixture(scope="module")
def embedding_client(embedding_server):
    with openai.OpenAI(base_url=embedding_server.url + "/v1", api_key="none", max_retries=0) as client:
        yield client


def dot(a, b):
    return sum(x * y for x, y in zip(a, b))


def test_similar_sentences_are_near(embedding_client):
    reply = embedding_client.embeddings.create(model="minilm", input=SENTENCES)  # the client asks for base64
    a, b, c = (d.embedding for d in reply.data)
    assert len(a) == 384 and all(math.isclose(dot(v, v), 1, abs_tol=1e-3) for v in (a, b, c))
    assert dot(a, b) > 0.5 > 0.2 > dot(a, c)


def test_base64_and_float_are_the_same(embedding_client):
    one = embedding_client.embeddings.create(model="minilm", input="x", encoding_format="float").data[0].embedding
    other = embedding_client.embeddings.create(model="minilm", input="x").data[0].embedding
    assert one == pytest.approx(other, abs=1e-6)


def test_token_ids_and_usage(embedding_client):
    reply = embedding_client.embeddings.create(model="minilm", input=[[101, 7592, 102]], encoding_format="float")
    assert reply.usage.prompt_tokens == 3 and reply.usage.total_tokens == 3


def test_alone_or_in_a_batch_is_the_same(embedding_client):
    together = embedding_client.embeddings.create(model="minilm", input=SENTENCES, encoding_format="float").data
    for sentence, item in zip(SENTENCES, together):
        assert embedding_client.embeddings.create(model="minilm", input=sentence, encoding_format="float").data[0].embedding == item.embedding


@pytest.mark.parametrize("body", [{"input": []}, {"input": ""}, {"input": 5}, {"input": "word " * 2000}, {"input": "x", "dimensions": 0},
                                  {"input": "x", "encoding_format": "hex"}, {}])
def test_what_cannot_be_embedded(embedding_server, body):
    reply = embedding_server.request("POST", "/v1/embeddings", {"model": "minilm", **body})
    assert reply.status == 400 and reply.json["error"]["message"]


def test_chat_with_an_embedding_model(embedding_server):
    reply = embedding_server.request("POST", "/v1/chat/completions", {"model": "minilm", "messages": [{"role": "user", "content": "Hi"}]})
    assert reply.status == 400 and "embedding" in reply.json["error"]["message"]
