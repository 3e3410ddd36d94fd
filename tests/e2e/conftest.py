import openai
import pytest

import program


def pytest_collection_modifyitems(config, items):
    """Tests of larger models run only when asked for by -m large."""
    if "large" not in (config.getoption("-m") or ""):
        keep = [item for item in items if not item.get_closest_marker("large")]
        config.hook.pytest_deselected(items=[item for item in items if item not in keep])
        items[:] = keep


@pytest.fixture(scope="session")
def server():
    """One server for all tests that leave it as they found it; at the end it must still stop cleanly."""
    with program.serving(program.MODEL, "--context", "4096") as running:
        yield running
        assert running.process.poll() is None, "the server died:\n" + "".join(running.output[-20:])
    assert running.process.returncode == 0


@pytest.fixture(scope="session")
def client(server):
    with openai.OpenAI(base_url=server.url + "/v1", api_key="none", max_retries=0, timeout=120) as connected:
        yield connected


@pytest.fixture(autouse=True)
def engine_is_idle_afterwards(request):
    """Whatever a test sent to the shared server, no work of it may remain."""
    yield
    if "server" in request.fixturenames:
        server = request.getfixturevalue("server")
        program.wait_until(lambda: server.running() == 0, 10, "no running request")
