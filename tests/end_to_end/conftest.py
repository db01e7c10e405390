"""A local system for tests that run a command of the deployment on it."""

import pytest

from tests.support.local_system import LocalSystem
from tests.support.scripted_gemini import scripted_gemini


@pytest.fixture
def gemini():
    with scripted_gemini() as gemini:
        yield gemini


@pytest.fixture
def system(tmp_path, gemini):
    running = LocalSystem(
        tmp_path / "state", GEMINI_API_KEY="the-key", GOOGLE_GEMINI_BASE_URL=gemini.url
    )
    running.start()
    yield running
    assert running.stop() == 0
