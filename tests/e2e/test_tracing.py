"""Traces of requests: what a real server sends, decoded by OpenTelemetry's own package; and a collector that goes away."""
import http.server
import threading
import time

import openai
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2
from opentelemetry.proto.trace.v1 import trace_pb2

import program

SECRET = "zanzibar"  # in the prompt; must be in no span
ASK = [{"role": "user", "content": f"Say {SECRET}."}]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector:
    """Takes what it is sent, and remembers it."""

    def __init__(self):
        self.bodies, self.headers, self.status, self.pause = [], [], 200, 0.0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                time.sleep(outer.pause)
                outer.headers.append(dict(self.headers) | {"path": self.path})
                outer.bodies.append(body)
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.http.server_address[1]}"

    def close(self):
        self.http.shutdown()
        self.http.server_close()

    def resources(self):
        return [r for body in list(self.bodies) for r in trace_service_pb2.ExportTraceServiceRequest.FromString(body).resource_spans]

    def spans(self):
        return [span for resource in self.resources() for scope in resource.scope_spans for span in scope.spans]

    def roots(self):
        return [span for span in self.spans() if span.kind == trace_pb2.Span.SPAN_KIND_SERVER]

    def root_of(self, request_id):
        """The span of this request, once it is there, and its children by name."""
        def find():
            return [span for span in self.roots() if attributes(span)["edgewise.request.id"] == request_id]
        program.wait_until(find, 10, f"the span of {request_id}")
        (root,) = find()
        return root, [span for span in self.spans() if span.parent_span_id == root.span_id]


def value_of(value):
    kind = value.WhichOneof("value")
    return [value_of(v) for v in value.array_value.values] if kind == "array_value" else getattr(value, kind)


def attributes(span):
    return {a.key: value_of(a.value) for a in span.attributes}


def request_id(reply):
    return {k.lower(): v for k, v in reply.headers.items()}["x-request-id"]


@pytest.fixture(scope="module")
def collector():
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def traced(collector):
    with program.serving(program.MODEL, "--otlp-endpoint", collector.url, "--context", "2048", "--api-key", "key-that-is-secret",
                         env={"OTEL_SERVICE_NAME": "kitchen", "OTEL_EXPORTER_OTLP_HEADERS": "x-team=blue%20one"}) as server:
        yield server


def chat(server, headers=None, **parameters):
    return server.request("POST", "/v1/chat/completions", {"model": program.MODEL, "messages": ASK, "max_tokens": 5, "ignore_eos": True, **parameters},
                          headers={"Authorization": "Bearer key-that-is-secret", **(headers or {})})


def test_a_request_becomes_a_span_with_its_phases(traced, collector):
    before = time.time_ns()
    with openai.OpenAI(base_url=traced.url + "/v1", api_key="key-that-is-secret", max_retries=0) as client:
        reply = client.chat.completions.with_raw_response.create(model=program.MODEL, messages=ASK, max_tokens=5, extra_body={"ignore_eos": True})
    after = time.time_ns()
    usage = reply.parse().usage
    root, children = collector.root_of(reply.headers["x-request-id"])
    assert root.name == f"chat {program.MODEL}" and not root.parent_span_id and len(root.trace_id) == 16 and len(root.span_id) == 8
    found = attributes(root)
    assert found | {"edgewise.request.id": None} == {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "edgewise", "gen_ai.request.model": program.MODEL,
        "gen_ai.response.model": program.MODEL, "gen_ai.usage.input_tokens": usage.prompt_tokens, "gen_ai.usage.output_tokens": 5,
        "gen_ai.usage.cache_read.input_tokens": usage.prompt_tokens_details.cached_tokens, "gen_ai.response.finish_reasons": ["length"],
        "http.request.method": "POST", "http.route": "/v1/chat/completions", "http.response.status_code": 200, "edgewise.request.id": None}
    assert root.status.code == trace_pb2.Status.STATUS_CODE_UNSET
    assert [span.name for span in sorted(children, key=lambda s: s.start_time_unix_nano)] == ["queue", "prefill", "decode"]
    assert before <= root.start_time_unix_nano < root.end_time_unix_nano <= after
    for span in children:
        assert span.trace_id == root.trace_id and span.kind == trace_pb2.Span.SPAN_KIND_INTERNAL
        assert root.start_time_unix_nano <= span.start_time_unix_nano < span.end_time_unix_nano <= root.end_time_unix_nano
    queue, prefill, decode = sorted(children, key=lambda s: s.start_time_unix_nano)
    assert abs(queue.end_time_unix_nano - prefill.start_time_unix_nano) < 1000 and abs(prefill.end_time_unix_nano - decode.start_time_unix_nano) < 1000


def test_a_stream_and_several_choices(traced, collector):
    root, children = collector.root_of(request_id(chat(traced, n=2, stream=True, temperature=1)))
    found = attributes(root)
    assert found["gen_ai.usage.output_tokens"] == 10 and found["gen_ai.response.finish_reasons"] == ["length", "length"]
    assert found["gen_ai.usage.input_tokens"] < 60  # once
    assert sorted(attributes(span)["edgewise.answer"] for span in children if span.name == "decode") == [0, 1]


def test_the_clients_trace_is_continued(traced, collector):
    root, children = collector.root_of(request_id(chat(traced, {"traceparent": f"00-{TRACE}-{PARENT}-01"})))
    assert root.trace_id.hex() == TRACE and root.parent_span_id.hex() == PARENT
    assert {span.trace_id.hex() for span in children} == {TRACE} and children
    for broken in (f"00-{TRACE}-{PARENT}", f"00-{TRACE.upper()}-{PARENT}-01", "0" * 55, "x" * 5000):
        root, _ = collector.root_of(request_id(chat(traced, {"traceparent": broken})))
        assert root.trace_id.hex() != TRACE and not root.parent_span_id


def test_a_trace_that_its_client_does_not_record_is_not_sent(traced, collector):
    skipped = request_id(chat(traced, {"traceparent": f"00-{TRACE}-{PARENT}-00"}))
    collector.root_of(request_id(chat(traced)))  # sent later, and here
    assert skipped not in [attributes(span)["edgewise.request.id"] for span in collector.roots()]


def test_refusals_and_failures(traced, collector):
    root, children = collector.root_of(request_id(chat(traced, temperature=99)))
    found = attributes(root)
    assert found["http.response.status_code"] == 400 and found["error.type"] and not children
    assert root.status.code == trace_pb2.Status.STATUS_CODE_UNSET and "gen_ai.usage.input_tokens" not in found
    late = chat(traced, max_tokens=2000, deadline_ms=250, stream=True, ignore_eos=False, temperature=0,
                messages=[{"role": "user", "content": "Write a very long story about every river of the world."}])
    root, _ = collector.root_of(request_id(late))
    found = attributes(root)
    assert found["error.type"] in ("deadline_exceeded", "deadline_unreachable") and root.status.code == trace_pb2.Status.STATUS_CODE_ERROR


def test_a_client_that_goes_away_is_seen(traced, collector):
    known = len(collector.roots())
    with traced.connect() as connection:
        body = '{"model": "%s", "messages": [{"role": "user", "content": "Count."}], "stream": true, "ignore_eos": true, "max_tokens": 1500}' % program.MODEL
        connection.sendall((f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer key-that-is-secret\r\n"
                            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}").encode())
        connection.recv(100)
    program.wait_until(lambda: len(collector.roots()) > known, 10, "its span")
    root = collector.roots()[-1]
    assert attributes(root)["http.response.status_code"] == 499
    assert {"queue", "prefill", "decode"} == {s.name for s in collector.spans() if s.parent_span_id == root.span_id}


def test_who_sends_it_and_no_secrets(traced, collector):
    chat(traced)
    program.wait_until(lambda: collector.bodies, 10, "anything")
    for resource in collector.resources():
        named = {a.key: a.value.string_value for a in resource.resource.attributes}
        assert named["service.name"] == "kitchen" and named["service.version"]
        assert all(len(scope.scope.name) > 0 for scope in resource.scope_spans)
    assert all(h["x-team"] == "blue one" and h["path"] == "/v1/traces" and h["Content-Type"] == "application/x-protobuf" for h in collector.headers)
    for body in collector.bodies:
        assert SECRET.encode() not in body and b"key-that-is-secret" not in body


def test_probes_and_lists_are_not_traced(traced, collector):
    for path in ("/health", "/metrics", "/v1/models"):
        traced.request("GET", path, headers={"Authorization": "Bearer key-that-is-secret"})
    collector.root_of(request_id(chat(traced)))
    assert {attributes(span)["http.route"] for span in collector.roots()} == {"/v1/chat/completions"}


def lost(server):
    return {k.split('"')[1]: v for k, v in server.metrics().items() if k.startswith("edgewise_trace_spans_lost_total")}


@pytest.mark.parametrize("how", ["closes", "never answers", "refuses"])
def test_a_collector_that_goes_away_costs_spans_and_no_request(how):
    collector = Collector()
    with program.serving(program.MODEL, "--otlp-endpoint", collector.url, "--context", "2048") as server:
        program.wait_until(lambda: server.chat(ASK, max_tokens=2).status == 200 and collector.bodies, 20, "spans come")
        usual = min(timed(server) for _ in range(3))
        if how == "closes":
            collector.close()
        elif how == "never answers":
            collector.pause = 600.0
        else:
            collector.status = 503
        times = [timed(server) for _ in range(20)]
        assert sorted(times)[10] < 5 * usual + 0.2, (usual, times)
        reason = "refused" if how == "refuses" else "unreachable"
        program.wait_until(lambda: lost(server)[reason] >= 4, 30, "lost spans are counted")
        assert server.metrics()["edgewise_trace_spans_sent_total"] >= 4
        assert len([line for line in server.output if "traces are lost" in line]) == 1
        started = time.monotonic()
        assert server.stop() == 0 and time.monotonic() - started < 10


def timed(server):
    started = time.monotonic()
    assert server.chat(ASK, max_tokens=2).status == 200
    return time.monotonic() - started


def test_the_environment_says_where():
    collector = Collector()
    with program.serving(program.MODEL, "--context", "2048", env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url + "/base/"}) as server:
        collector.root_of(request_id(server.chat(ASK, max_tokens=2)))
        assert collector.headers[0]["path"] == "/base/v1/traces"
    for environment, word in (({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "http"), ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "x"}, "http"),
                              ({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
                              ({"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_EXPORTER_OTLP_HEADERS": "a=top%0d%0asecret"}, "HEADERS")):
        done = program.run("serve", program.MODEL, "--port", 0, env=environment)
        assert done.returncode == 2 and word in done.stderr and "secret" not in done.stderr
    known = len(collector.bodies)
    with program.serving(program.MODEL, env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SDK_DISABLED": "true"}) as server:
        server.chat(ASK, max_tokens=2)
    assert len(collector.bodies) == known
    collector.close()
