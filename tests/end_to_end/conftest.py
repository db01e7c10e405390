"""A local system with a fake Gemini, shared by the tests that do not stop it."""

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
    session_gemini.release()
    return session_gemini


@pytest.fixture(scope="session")
def scripted_system(session_gemini, tmp_path_factory):
    """Run a system that contains images of earlier tests."""
    running = LocalSystem(
        tmp_path_factory.mktemp("commands") / "state",
        GEMINI_API_KEY="the-key",
        GOOGLE_GEMINI_BASE_URL=session_gemini.url,
    )
    running.start()
    yield running
    assert running.stop() == 0


@pytest.fixture(scope="session")
def system(scripted_system):
    """Return the system of a file that needs no other one."""
    return scripted_system
