"""Explain what an environment may spend on captions."""

from deployment.console import Console
from deployment.costs import Prices, captions_within
from deployment.stacks import FUNCTIONS, WEB, ParameterFile, Templates

_BUDGET = "GeminiDailyTokenBudget"


def show_spending(parameter_file: ParameterFile, templates: Templates, console: Console) -> None:
    """Print the daily budget for captions, its meaning, and a warning if anyone may use it."""
    budget = int(parameter_file.value(templates[FUNCTIONS], _BUDGET))
    change = f"To change it, set {_BUDGET} in {FUNCTIONS} and {WEB} of the parameter file."
    if budget:
        model = parameter_file.value(templates[FUNCTIONS], "GeminiModelName")
        console.print(f"Captions: {_meaning(budget, model)} Then captions fail until midnight UTC.")
        console.print(change)
    else:
        console.print(f"Captions have no daily limit ({_BUDGET} is 0). {change}", "error")
    if parameter_file.value(templates[WEB], "SignIn") == "none":
        console.print(
            "Everyone who can reach the site can upload images, and each caption costs money. "
            f"SignIn of {WEB} limits the site to people with an account.",
            "error",
        )


def _meaning(budget: int, model: str) -> str:
    captions, dollars = captions_within(budget)
    price = f", ${dollars:.2f}" if model == Prices.gemini_model else ""
    return f"at most {budget:,} tokens a day (about {captions:,} captions{price} with {model})."
