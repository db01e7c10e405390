import graphlib

import pytest

from tests.support.cloudformation import Stack, TemplateError

TEMPLATE = {
    "Parameters": {
        "Copies": {"Type": "Number", "Default": 1, "MinValue": 1, "MaxValue": 2},
        "Names": {"Type": "CommaDelimitedList", "Default": "", "AllowedPattern": "[a-z]*"},
    },
    "Conditions": {"HasCopy": {"Fn::Equals": [{"Ref": "Copies"}, 2]}},
    "Resources": {
        "Original": {"Type": "Bucket"},
        "Copy": {"Type": "Bucket", "Condition": "HasCopy"},
    },
}


def stack(parameters=None, exports=None, **parts):
    return Stack("00-tried", TEMPLATE | parts, parameters or {}, exports or {})


def test_a_value_that_only_aws_knows_has_a_name_of_its_own():
    tried = stack()

    assert tried.resolve({"Ref": "Original"}) == "<00-tried.Original>"
    assert tried.resolve({"Fn::GetAtt": ["Original", "Arn"]}) == "<00-tried.Original.Arn>"
    assert tried.resolve({"Fn::Sub": "${Original.Arn}/*"}) == "<00-tried.Original.Arn>/*"


@pytest.mark.parametrize(
    "reference",
    [
        {"Ref": "Copy"},
        {"Fn::GetAtt": ["Copy", "Arn"]},
        {"Fn::Sub": "${Copy}"},
        {"Fn::Sub": "${Copy.Arn}"},
        {"Ref": "Nothing"},
    ],
)
def test_naming_what_is_not_made_is_an_error(reference):
    with pytest.raises(TemplateError, match="which is not made"):
        stack().resolve(reference)


def test_what_is_made_under_a_condition_can_be_named_where_it_holds():
    chosen = {"Fn::If": ["HasCopy", {"Ref": "Copy"}, {"Ref": "Original"}]}

    assert stack().resolve(chosen) == "<00-tried.Original>"
    assert stack({"Copies": "2"}).resolve(chosen) == "<00-tried.Copy>"
    assert stack().resources.keys() == {"Original"}


def test_an_import_needs_an_export_before_it():
    imported = {"Fn::ImportValue": {"Fn::Sub": "dev-Vpc"}}

    assert stack(exports={"dev-Vpc": "vpc-1"}).resolve(imported) == "vpc-1"
    with pytest.raises(TemplateError, match="imports dev-Vpc"):
        stack().resolve(imported)


def test_a_circle_has_no_order():
    circle = {
        "First": {"Type": "Group", "Properties": {"Peer": {"Ref": "Second"}}},
        "Second": {"Type": "Group", "DependsOn": "First"},
    }

    with pytest.raises(graphlib.CycleError):
        stack(Resources=circle).creation_order()


def test_no_value_leaves_its_place_empty():
    nothing = {"Ref": "AWS::NoValue"}

    assert stack().resolve({"Kept": 1, "Gone": nothing, "List": [nothing, 2]}) == {
        "Kept": 1,
        "List": [2],
    }


@pytest.mark.parametrize(
    "given", [{"Copies": "3"}, {"Copies": "0"}, {"Names": "a,B"}, {"Unknown": "1"}]
)
def test_a_parameter_that_cloudformation_would_refuse_is_an_error(given):
    with pytest.raises(TemplateError, match=next(iter(given))):
        stack(given)


def test_a_rule_is_asked_only_where_its_condition_holds():
    rules = {
        "NoCopies": {
            "RuleCondition": {"Fn::Contains": [[2, 3], {"Ref": "Copies"}]},
            "Assertions": [
                {"Assert": {"Fn::Equals": ["a", "b"]}, "AssertDescription": "No copies."}
            ],
        }
    }

    assert stack(Rules=rules).refusals() == []
    assert stack({"Copies": "2"}, Rules=rules).refusals() == ["No copies."]


def test_an_exclamation_mark_keeps_a_variable_of_the_shell():
    assert stack().resolve({"Fn::Sub": "${!HOME} ${AWS::Region}"}) == "${HOME} eu-west-1"
