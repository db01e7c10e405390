"""Check that each Guard rule finds the fault that it is for."""

import re

import pytest

from deployment.template_files import FOLDER, load_template
from tests.support.cloudformation import DATA, FUNCTIONS, NETWORK, STACKS, WEB

guard = pytest.importorskip("deployment.guard.__main__")
pytest.importorskip("guardpycfn", reason="guardpycfn has no wheel for this machine")

RULES = guard.RULES.read_text(encoding="utf-8")
# For each rule a template, a text of it, and its replacement that the rule must find.
FAULTS = {
    "DATA_HAS_A_DELETION_POLICY": (DATA, "    UpdateReplacePolicy: Snapshot\n", ""),
    "DATABASES_ARE_PRIVATE_ENCRYPTED_AND_BACKED_UP": (
        DATA,
        "PubliclyAccessible: false",
        "PubliclyAccessible: true",
    ),
    "DATABASES_REQUIRE_TLS": (DATA, 'transport: "1"', 'transport: "0"'),
    "BUCKETS_ARE_PRIVATE_ENCRYPTED_AND_VERSIONED": (
        DATA,
        "RestrictPublicBuckets: true",
        "RestrictPublicBuckets: false",
    ),
    "BUCKETS_REQUIRE_TLS": (DATA, "aws:SecureTransport: false", "aws:SecureTransport: true"),
    "SECRETS_HAVE_NO_VALUE_IN_A_TEMPLATE": (
        DATA,
        "Description: The Gemini API key, as plain text",
        "SecretString: a-key",
    ),
    "PARAMETERS_HOLD_NO_SECRET": (
        DATA,
        "  AlarmEmail:\n    D",
        "  AlarmEmail:\n    NoEcho: true\n    D",
    ),
    "LOGS_END": (DATA, "RetentionInDays: !Ref", "Unknown: !Ref"),
    "DEAD_LETTERS_ARE_KEPT_FOR_14_DAYS": (DATA, "Period: 1209600", "Period: 3600"),
    "FUNCTIONS_RUN_IN_THE_NETWORK_WITH_THEIR_OWN_LOG": (FUNCTIONS, "VpcConfig:", "Unknown:"),
    "FUNCTIONS_ARE_INVOKED_ONLY_BY_A_NAMED_SOURCE": (
        FUNCTIONS,
        "      SourceArn: !GetAtt SweepSchedule.Arn\n",
        "",
    ),
    "EVENTS_SURVIVE_THROTTLING": (FUNCTIONS, "      MaximumEventAgeInSeconds: 21600\n", ""),
    "EVENTS_THAT_CANNOT_BE_DELIVERED_ARE_KEPT": (FUNCTIONS, "DeadLetterConfig:", "Unknown:"),
    "NOTHING_BUT_THE_LOAD_BALANCER_IS_OPEN": (
        NETWORK,
        "SourceSecurityGroupId: !GetAtt WebSecurityGroup.GroupId",
        "CidrIp: 0.0.0.0/0",
    ),
    "SECURITY_GROUPS_ALLOW_NOTHING_BY_THEMSELVES": (NETWORK, "SecurityGroupEgress:", "Unknown:"),
    "GATEWAY_ENDPOINTS_HAVE_A_POLICY": (NETWORK, "      PolicyDocument:\n", "      Unknown:\n"),
    "SERVERS_ARE_PRIVATE_AND_ENCRYPTED": (WEB, "HttpTokens: required", "HttpTokens: optional"),
    "LOAD_BALANCERS_DROP_INVALID_HEADERS_AND_LOG": (
        WEB,
        '{Key: access_logs.s3.enabled, Value: "true"}',
        '{Key: access_logs.s3.enabled, Value: "false"}',
    ),
    "HTTPS_IS_TLS_1_2_OR_NEWER": (
        WEB,
        "ELBSecurityPolicy-TLS13-1-2-2021-06",
        "ELBSecurityPolicy-2016-08",
    ),
    "ROLES_ALLOW_NAMED_ACTIONS": (WEB, "Action: [events:PutEvents]", 'Action: ["events:*"]'),
    "ROLES_ALLOW_NAMED_RESOURCES": (
        FUNCTIONS,
        "Resource: !Sub arn:${AWS::Partition}:events:",
        'Resource: "*"\n                NotResource: !Sub arn:${AWS::Partition}:events:',
    ),
    "ALARMS_SAY_WHAT_TO_DO_AND_WHEN_THEY_END": (WEB, "OKActions:", "Unknown:"),
    "EXPORTS_BEGIN_WITH_THE_APPLICATION": (
        DATA,
        "image-annotation-${Environment}-",
        "${Environment}-",
    ),
}


def template(name):
    return (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STACKS)
def test_no_template_violates_a_rule(name):
    assert guard.violations(template(name), RULES) == []


@pytest.mark.parametrize("rule", re.findall(r"^rule (\w+)", RULES, re.MULTILINE))
def test_each_rule_finds_its_fault_and_says_what_to_do(rule):
    name, text, replacement = FAULTS[rule]
    body = template(name)
    assert text in body

    found = guard.violations(body.replace(text, replacement), RULES)

    assert any(re.fullmatch(rf"{rule}: /\w+/.*: \S.*", line) for line in found), found


@pytest.mark.parametrize("name", STACKS)
def test_each_exception_has_a_reason(name):
    for logical_id, resource in load_template(FOLDER / f"{name}.yaml")["Resources"].items():
        exceptions = resource.get("Metadata", {}).get("guard", {})
        reasons = exceptions.get("Reasons", {})
        assert sorted(exceptions.get("SuppressedRules", [])) == sorted(reasons), logical_id
        assert all(len(reason) > 20 for reason in reasons.values()), logical_id


def test_an_error_in_a_rule_is_reported():
    with pytest.raises(ValueError, match="Pars"):
        guard.violations(template(DATA), "rule X {{{")
