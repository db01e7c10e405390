"""Every way in which AWS says no, as a sentence that says what to do."""

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from deployment.errors import advice_for, explained


def refused(code, message=""):
    return ClientError({"Error": {"Code": code, "Message": message}}, "CreateStack")


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (refused("ExpiredToken", "The security token included is expired"), "Renew them"),
        (refused("InvalidClientTokenId"), "aws sts get-caller-identity"),
        (refused("AccessDenied", "User x is not authorized to perform: iam:CreateRole"), "lab"),
        (refused("LimitExceededException", "Limit for stack has been exceeded"), "quota"),
        (refused("VpcLimitExceeded"), "VPCs per Region"),
        (refused("AddressLimitExceeded"), "Elastic IP"),
        (refused("VcpuLimitExceeded"), "On-Demand"),
        (refused("Throttling", "Rate exceeded"), "slow down"),
        (refused("ValidationError", "Template format error: unsupported value"), "make lint"),
        (refused("ValidationError", "No export named dev-VpcId found."), "in order"),
        (refused("ValidationError", "Stack [x] cannot be deleted while TerminationProtection is "
                 "enabled"), "update-termination-protection"),
        (exceptions.NoCredentialsError(), "AWS_PROFILE"),
        (exceptions.PartialCredentialsError(provider="env", cred_var="x"), "AWS_ACCESS_KEY_ID"),
        (exceptions.ProfileNotFound(profile="nobody"), "AWS_PROFILE"),
        (exceptions.NoRegionError(), "--region"),
        (exceptions.EndpointConnectionError(endpoint_url="https://x"), "network and the region"),
        (exceptions.ConnectTimeoutError(endpoint_url="https://x"), "network"),
        (exceptions.UnauthorizedSSOTokenError(), "aws sso login"),
    ],
)  # fmt: skip
def test_what_aws_refuses_says_what_to_do(error, advice):
    explanation = explained(error)

    assert advice in str(explanation)
    assert "Traceback" not in str(explanation)


def test_nobody_named_a_region_is_a_mistake_of_the_command():
    assert explained(exceptions.NoRegionError()).exit_code == 2
    assert explained(exceptions.NoCredentialsError()).exit_code == 1


def test_a_refusal_that_nobody_knows_is_told_as_it_is():
    assert str(explained(refused("Odd", "Something new."))) == (
        "AWS refused CreateStack: Something new (Odd)."
    )


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("Failed to receive 1 resource signal(s) within the specified duration", "logs web"),
        ("Received 0 SUCCESS signal(s) out of 2.", "logs web"),
        ("You have requested more vCPU capacity than your current vCPU limit of 1", "InstanceType"),
        ("The maximum number of VPCs has been reached.", "VPCs per Region"),
        ("Specified ReservedConcurrentExecutions decreases account's "
         "UnreservedConcurrentExecution below its minimum value", "set the reserved"),
        ("The image manifest, config or layer media type for the source image is not supported.",
         "provenance"),
        ("Export dev-VpcId cannot be deleted as it is in use by dev-02", "later stack"),
        ("Cannot find version 8.4.99 for mysql", "DatabaseEngineVersion"),
    ],
)  # fmt: skip
def test_the_reasons_of_failed_resources_have_their_advice_too(reason, advice):
    assert advice in advice_for(reason)
