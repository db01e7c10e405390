"""Run the checks of `make verify-gemini` against the emulator."""

import re

import pytest

from deployment.console import Console
from local_cloud import gemini_rules
from local_cloud.gemini_emulator import GeminiHandler
from local_cloud.loopback_http import LoopbackServer
from tests.verify import gemini


@pytest.fixture
def emulator(monkeypatch):
    server = LoopbackServer(GeminiHandler)
    server.start()
    monkeypatch.setenv("GOOGLE_GEMINI_BASE_URL", f"http://{server.address}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield
    server.close()


def test_the_emulator_behaves_as_assumed(emulator, capsys):
    code = gemini.main({"GEMINI_API_KEY": "a-key-for-the-emulator"})

    printed = capsys.readouterr().out
    assert "DIFFERENT" not in printed
    assert code == 0, printed
    number = len(gemini.Service("", "").checks())
    assert printed.count("as assumed") == number
    assert f"sends {number} requests" in printed
    assert "less than one US cent" in printed


@pytest.mark.parametrize("rule", gemini_rules.RULES, ids=lambda rule: rule.__name__)
def test_a_service_that_lacks_one_rule_of_the_emulator_is_different(emulator, monkeypatch, rule):
    others = tuple(other for other in gemini_rules.RULES if other is not rule)
    monkeypatch.setattr(gemini_rules, "RULES", others)
    checks = gemini.Service("a-key-for-the-emulator", gemini.DEFAULT_MODEL).checks()

    # Only until the first difference. The checks of what Gemini refuses are the last.
    assert any(gemini.run([check], Console()) == 1 for check in reversed(checks))


def test_a_difference_is_shown_without_the_key_and_exits_with_1(emulator, capsys):
    # The emulator refuses keys in the form of Google.
    key = "AIza" + "x" * 35

    assert gemini.main({"GEMINI_API_KEY": key}) == 1

    printed = capsys.readouterr().out
    assert re.search(r"DIFFERENT +A photo gets a caption", printed)
    assert key not in printed


def test_without_a_key_the_command_explains_itself_and_exits_with_2(capsys):
    assert gemini.main({}) == 2

    printed = capsys.readouterr().err
    assert "GEMINI_API_KEY=… make verify-gemini" in printed
    assert "less than one US cent" in printed
