"""Check the resolver of CloudFormation templates that other tests use."""

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


def test_an_attribute_of_a_resource_resolves_to_a_placeholder():
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
def test_a_reference_to_a_missing_resource_is_an_error(reference):
    with pytest.raises(TemplateError, match="which is missing"):
        stack().resolve(reference)


def test_a_conditional_resource_can_be_referenced_if_its_condition_is_true():
    chosen = {"Fn::If": ["HasCopy", {"Ref": "Copy"}, {"Ref": "Original"}]}

    assert stack().resolve(chosen) == "<00-tried.Original>"
    assert stack({"Copies": "2"}).resolve(chosen) == "<00-tried.Copy>"
    assert stack().resources.keys() == {"Original"}


def test_an_import_needs_an_earlier_export():
    imported = {"Fn::ImportValue": {"Fn::Sub": "dev-Vpc"}}

    assert stack(exports={"dev-Vpc": "vpc-1"}).resolve(imported) == "vpc-1"
    with pytest.raises(TemplateError, match="imports dev-Vpc"):
        stack().resolve(imported)


def test_circular_dependencies_are_an_error():
    cycle = {
        "First": {"Type": "Group", "Properties": {"Peer": {"Ref": "Second"}}},
        "Second": {"Type": "Group", "DependsOn": "First"},
    }

    with pytest.raises(graphlib.CycleError):
        stack(Resources=cycle).creation_order()


def test_no_value_removes_its_property_or_list_item():
    nothing = {"Ref": "AWS::NoValue"}

    assert stack().resolve({"Kept": 1, "Gone": nothing, "List": [nothing, 2]}) == {
        "Kept": 1,
        "List": [2],
    }


@pytest.mark.parametrize(
    "given", [{"Copies": "3"}, {"Copies": "0"}, {"Names": "a,B"}, {"Unknown": "1"}]
)
def test_a_parameter_that_cloudformation_would_reject_is_an_error(given):
    with pytest.raises(TemplateError, match=next(iter(given))):
        stack(given)


def test_a_rule_is_checked_only_if_its_condition_is_true():
    rules = {
        "NoCopies": {
            "RuleCondition": {"Fn::Contains": [[2, 3], {"Ref": "Copies"}]},
            "Assertions": [
                {"Assert": {"Fn::Equals": ["a", "b"]}, "AssertDescription": "No copies."}
            ],
        }
    }

    assert stack(Rules=rules).failed_assertions() == []
    assert stack({"Copies": "2"}, Rules=rules).failed_assertions() == ["No copies."]


def test_an_exclamation_mark_escapes_a_shell_variable():
    assert stack().resolve({"Fn::Sub": "${!HOME} ${AWS::Region}"}) == "${HOME} eu-west-1"
