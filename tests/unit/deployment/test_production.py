"""Refuse an unsafe environment before anything is created."""

import pytest

from deployment.errors import UsageError
from deployment.production import check_purpose
from deployment.stacks import PROFILES, ParameterFile, read_templates
from tests.support.cloudformation import (
    DATA,
    FUNCTIONS,
    NETWORK,
    PRODUCTION,
    WEB,
    deploy,
    merged,
    parameter_file,
)
from tests.support.cloudformation import PROFILES as EXAMPLES

TEMPLATES = read_templates()


def check(*layers, accepts_plain_http=False):
    check_purpose(
        ParameterFile("mine", merged(*layers)), TEMPLATES, accepts_plain_http=accepts_plain_http
    )


def test_a_complete_production_site_is_accepted():
    check(parameter_file("prod"), PRODUCTION)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({WEB: {"CertificateArn": ""}}, "HTTPS: set HostedZoneId or CertificateArn"),
        ({WEB: {"WebAcl": "none"}}, "A web ACL: set WebAcl"),
        ({DATA: {"AlarmEmail": ""}}, "Alarms that reach a person"),
        ({FUNCTIONS: {"GeminiDailyTokenBudget": "0"}}, "A limit of the spending"),
    ],
    ids=["https", "web-acl", "alarms", "budget"],
)
def test_a_production_site_that_lacks_something_is_refused_with_one_sentence(change, sentence):
    with pytest.raises(UsageError, match=sentence) as error:
        check(parameter_file("prod"), PRODUCTION, change, accepts_plain_http=True)

    assert str(error.value).count("\n- ") == 1
    assert "Nothing was created." in str(error.value)


def test_the_profile_for_production_names_everything_that_it_lacks():
    with pytest.raises(UsageError) as error:
        check(parameter_file("prod"))

    assert str(error.value).count("\n- ") == 2


def test_sign_in_that_the_network_does_not_allow_is_refused():
    sign_in = {WEB: {"SignIn": "cognito"}}

    with pytest.raises(UsageError, match="needs AllowLoadBalancerSignIn of 01-vpc-network"):
        check(parameter_file("default"), sign_in, accepts_plain_http=True)
    allowed = {NETWORK: {"AllowLoadBalancerSignIn": "true"}}
    check(parameter_file("default"), sign_in, allowed, accepts_plain_http=True)


@pytest.mark.parametrize("profile", ["default", "lab"])
def test_a_test_site_without_https_must_be_accepted(profile):
    with pytest.raises(UsageError, match="--accept-plain-http"):
        check(parameter_file(profile))
    check(parameter_file(profile), accepts_plain_http=True)
    check(parameter_file(profile), {WEB: {"HostedZoneId": "Z1"}})


def test_every_profile_but_prod_is_for_tests():
    stages = {
        path.stem: parameter_file(path.stem).get(WEB, {}).get("Stage", "test")
        for path in PROFILES.glob("*.json")
    }

    assert {name for name, stage in stages.items() if stage == "production"} == {"prod"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"CertificateArn": ""}, "In production the site needs HTTPS."),
        ({"WebAcl": "none"}, "In production the site needs a web ACL."),
    ],
)
def test_the_template_refuses_it_too(change, sentence):
    stacks = deploy(merged(EXAMPLES["prod"], {WEB: change}))

    assert any(sentence in text for text in stacks[WEB].failed_assertions())


def test_a_hosted_zone_gives_a_certificate_and_a_record():
    web = deploy(EXAMPLES["hosted-zone"])[WEB]

    [record] = web.of_type("AWS::Route53::RecordSet").values()
    [certificate] = web.of_type("AWS::CertificateManager::Certificate").values()
    listener = web.resources["HttpsListener"]["Properties"]
    assert record["Name"] == certificate["DomainName"] == "images.example.org"
    assert listener["Certificates"] == [{"CertificateArn": f"<{WEB}.Certificate>"}]
    assert web.outputs["Address"] == "https://images.example.org"


@pytest.mark.parametrize(
    ("profile", "says"), [("default", False), ("no-cert", True), ("lab", True), ("prod", False)]
)
def test_the_pages_of_a_site_without_https_say_so(profile, says):
    launch = deploy(EXAMPLES[profile])[WEB].resources["LaunchTemplate"]["Properties"]

    script = launch["LaunchTemplateData"]["UserData"]
    assert ("SITE_NOTICE=This is a test system. Its connection is not encrypted" in script) == says


def test_the_managed_web_acl_does_not_judge_the_bytes_of_photos():
    [acl] = deploy(EXAMPLES["prod"])[WEB].of_type("AWS::WAFv2::WebACL").values()

    rules = {rule["Name"]: rule["Statement"] for rule in acl["Rules"]}
    overrides = rules["common-rules"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]
    counted = {each["Name"] for each in overrides if each["ActionToUse"] == {"Count": {}}}
    assert {"SizeRestrictions_BODY", "CrossSiteScripting_BODY", "GenericLFI_BODY"} <= counted
    assert int(rules["requests-per-address"]["RateBasedStatement"]["Limit"]) == 10_000
