"""The text of `up` about the cost of captions."""

import io
import json

import pytest

from deployment.console import Console
from deployment.costs import Assumptions, Prices, captions_within
from deployment.errors import UsageError
from deployment.spending import show_spending
from deployment.stacks import FUNCTIONS, WEB, ParameterFile, read_templates
from deployment.template_files import FOLDER
from web_app.services import pricing

TEMPLATES = read_templates()
SIGN_IN = "Everyone who can reach the site"


def printed(parameter_file):
    output = io.StringIO()
    show_spending(parameter_file, TEMPLATES, Console(output))
    return output.getvalue()


def with_budget(budget, **functions):
    values = {
        FUNCTIONS: {"GeminiDailyTokenBudget": budget, **functions},
        WEB: {"GeminiDailyTokenBudget": budget},
    }
    return ParameterFile("given", values)


@pytest.mark.parametrize("profile", ["lab", "default", "prod"])
def test_every_profile_limits_the_captions_of_a_day_and_says_what_they_cost(profile):
    parameter_file = ParameterFile.read(profile, TEMPLATES)
    budget = int(parameter_file.value(TEMPLATES[FUNCTIONS], "GeminiDailyTokenBudget"))
    captions, dollars = captions_within(budget)

    text = printed(parameter_file)

    assert budget > 0
    assert f"at most {budget:,} tokens a day" in text
    assert f"about {captions:,} captions, ${dollars:.2f} with {Prices.gemini_model}" in text
    assert "To change it, set GeminiDailyTokenBudget in" in text
    assert SIGN_IN in text


@pytest.mark.parametrize("profile", ["lab", "default", "prod"])
def test_the_document_has_the_budget_of_each_profile(profile):
    parameter_file = ParameterFile.read(profile, TEMPLATES)
    budget = int(parameter_file.value(TEMPLATES[FUNCTIONS], "GeminiDailyTokenBudget"))
    captions, dollars = captions_within(budget)
    most = budget * Prices.gemini_million_out / 1e6

    row = (
        f"| `{profile}` | {budget:,} | about {captions // 10 * 10:,} | {dollars:.2f} | {most:.2f} |"
    )

    assert row in (FOLDER / "README.md").read_text()


def test_a_site_without_a_limit_is_a_warning():
    text = printed(with_budget("0"))

    assert "Captions have no daily limit (GeminiDailyTokenBudget is 0)." in text
    assert "$" not in text


def test_the_price_of_an_unknown_model_is_not_invented():
    text = printed(with_budget("10000000", GeminiModelName="gemini-9"))

    assert "captions with gemini-9)" in text
    assert "$" not in text


def test_a_site_with_a_sign_in_has_no_warning():
    values = {**with_budget("10000000").values}
    values[WEB] = {**values[WEB], "SignIn": "oidc"}

    assert SIGN_IN not in printed(ParameterFile("given", values))


def test_functions_and_web_servers_must_have_the_same_budget(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({FUNCTIONS: {"GeminiDailyTokenBudget": "5000000"}}))

    with pytest.raises(UsageError, match=r"is 5000000 for 03-\S+ and 10000000 for 04-"):
        ParameterFile.read(str(path), TEMPLATES)


def test_the_page_and_the_cost_tables_assume_the_same_tokens_of_a_caption():
    assert Assumptions.tokens_in + Assumptions.tokens_out == pricing.TOKENS_PER_CAPTION
