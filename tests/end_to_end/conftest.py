"""A local system for tests that run a command of the deployment on it."""

import pytest

from tests.support.local_system import LocalSystem
from tests.support.scripted_gemini import scripted_gemini


@pytest.fixture(scope="session")
def session_gemini():
    with scripted_gemini() as gemini:
        yield gemini


@pytest.fixture
def gemini(session_gemini):
    """Return the fake Gemini server without a script."""
    session_gemini.script.clear()
    session_gemini.requests.clear()
    return session_gemini


@pytest.fixture(scope="session")
def system(session_gemini, tmp_path_factory):
    """Run a system that the tests of all commands share. It contains images of earlier tests."""
    running = LocalSystem(
        tmp_path_factory.mktemp("commands") / "state",
        GEMINI_API_KEY="the-key",
        GOOGLE_GEMINI_BASE_URL=session_gemini.url,
    )
    running.start()
    yield running
    assert running.stop() == 0
