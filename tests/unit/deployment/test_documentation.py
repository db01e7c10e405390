"""Compare deployment/README.md with the commands, the templates and the prices."""

import re
from pathlib import Path

import pytest

from deployment import costs, down, errors
from deployment.__main__ import cli
from deployment.images import IMAGES
from deployment.redrive import QUEUE_OUTPUTS
from deployment.stacks import ORDER, read_templates

README = (Path(__file__).parents[3] / "deployment" / "README.md").read_text()
NAME = re.compile(r"`([A-Z][a-z]+(?:[A-Z][a-z]*)+)`")


@pytest.fixture(scope="module")
def templates():
    return read_templates()


@pytest.fixture(scope="module")
def parameters(templates):
    return {name for stack in ORDER for name in templates[stack].parameters}


@pytest.fixture(scope="module")
def outputs(templates):
    return {name for stack in ORDER for name in templates[stack].outputs}


def section(title):
    return README.partition(f"### {title}\n")[2].partition("\n### ")[0]


def test_every_command_and_option_is_described_and_every_described_one_exists():
    described = section("Commands")
    rows = re.findall(r"^\| `(\w+)", described, re.MULTILINE)
    options = {
        option
        for command in cli.commands.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--")
    }

    assert sorted(rows) == sorted(cli.commands), "edit the table of commands"
    assert sorted(options ^ set(re.findall(r"`(--[a-z-]+)`", described))) == [], "edit the options"


def test_each_command_has_the_options_its_row_names():
    for row in re.findall(r"^\| `.*\|$", section("Commands"), re.MULTILINE):
        command = cli.commands[re.match(r"\| `(\w+)", row)[1]]
        own = {
            option
            for parameter in command.params
            for option in parameter.opts
            if option.startswith("--") and option not in ("--environment", "--region")
        }
        assert set(re.findall(r"`(--[a-z-]+)`", row)) == own, command.name


def test_every_stack_is_described():
    assert re.findall(r"^\| `(\d\d-[a-z0-9-]+)\.yaml`", README, re.MULTILINE) == list(ORDER)


def test_every_named_parameter_and_output_exists(parameters, outputs):
    named = set(NAME.findall(README.partition("### What the operator")[0]))
    advice = Path(errors.__file__).read_text().partition("ADVICE")[2].partition("def ")[0]
    advised = set(re.findall(r"\b(?:NatMode|InstanceType|Database[A-Z]\w+)", advice))
    protections = set(re.findall(r'"(\w+DeletionProtection)"', Path(down.__file__).read_text()))
    named_outputs = set(re.findall(r"output `(\w+)`", README))

    assert named
    assert named_outputs
    assert sorted(named_outputs - outputs) == [], "deployment/README.md names them"
    assert advised
    assert protections
    unknown = (named | advised | protections) - parameters - named_outputs
    assert sorted(unknown) == [], "deployment/README.md, errors.py or down.py names them"


def test_the_outputs_that_the_commands_read_exist(outputs):
    read = {image.repository_output for image in IMAGES} | set(QUEUE_OUTPUTS)
    read |= {"GeminiSecretArn", "FlaskSecretArn", "LoadBalancerArn", "Address"}

    assert sorted(read - outputs) == []


def test_the_images_are_parameters_of_the_stacks(parameters):
    assert {image.parameter for image in IMAGES} <= parameters


def test_the_tables_of_costs_are_the_output_of_the_command():
    for line in costs.report().splitlines():
        assert line in README, f"{line}: copy the output of `python -m deployment costs`"


def test_every_size_in_a_profile_has_a_price():
    for profile in costs.PROFILES:
        for line in costs.idle_month(profile):
            assert line.dollars > 0 or line.arithmetic.startswith("0 "), line


def test_alarms_cost_by_the_metrics_that_they_read():
    lines = {line.name: line.arithmetic for line in costs.idle_month("prod")}

    # 27 in the alarms of the templates, and 4 of the alarms that the scaling policies make.
    assert lines["Metrics in alarms"].startswith("31 ")
    assert lines["Web ACL"].startswith("1 ")


def test_token_prices_are_multiplied_by_a_thousand_images(monkeypatch):
    monkeypatch.setattr(costs.Prices, "gemini_million_in", 1.0)
    monkeypatch.setattr(costs.Prices, "gemini_million_out", 10.0)
    monkeypatch.setattr(costs.Assumptions, "tokens_in", 1000)
    monkeypatch.setattr(costs.Assumptions, "tokens_out", 100)

    lines = costs.thousand_images()

    assert [line.dollars for line in lines[:2]] == pytest.approx([1.0, 1.0])


def test_every_advice_has_a_row_that_begins_with_its_message():
    section = README.split("### When something goes wrong")[1].split("\n### ")[0]
    messages = [row.split("|")[1] for row in section.splitlines() if row.startswith("| ")]

    without = [
        pattern
        for pattern, _advice in errors.ADVICE
        if not any(re.search(pattern, message, re.IGNORECASE) for message in messages)
    ]

    assert without == []
