"""Convert errors of AWS to messages that say what to do."""

import pytest
from botocore import exceptions
from botocore.exceptions import ClientError

from deployment.errors import advice_for, explain


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
        (refused("Throttling", "Rate exceeded"), "Wait a minute"),
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
def test_an_error_of_aws_has_advice(error, advice):
    message = str(explain(error))

    assert advice in message
    assert "Traceback" not in message


def test_a_missing_region_exits_with_2_and_missing_credentials_with_1():
    assert explain(exceptions.NoRegionError()).exit_code == 2
    assert explain(exceptions.NoCredentialsError()).exit_code == 1


def test_an_unknown_error_is_shown_with_the_text_of_aws():
    assert str(explain(refused("Odd", "Something new."))) == (
        "AWS rejected CreateStack: Something new (Odd)."
    )


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("Action denied by stack policy: Statement [#2] does not allow [Update:Replace] for "
         "resource [LogicalResourceId/Database]", "--allow-replacement"),
        ("Alarm arn:aws:cloudwatch:eu-west-1:1:alarm:x went to the ALARM state", "logs web"),
        ("The rollback trigger alarm x breached its threshold", "previous version runs again"),
        ("Failed to receive 1 resource signal(s) within the specified duration", "logs web"),
        ("Received 0 SUCCESS signal(s) out of 2.", "logs web"),
        ("You have requested more vCPU capacity than your current vCPU limit of 1", "InstanceType"),
        ("The maximum number of VPCs has been reached.", "VPCs per Region"),
        ("Specified ReservedConcurrentExecutions decreases account's "
         "UnreservedConcurrentExecution below its minimum value", "Set the reserved"),
        ("The image manifest, config or layer media type for the source image is not supported.",
         "provenance"),
        ("Export dev-VpcId cannot be deleted as it is in use by dev-02", "later stack"),
        ("Cannot find version 8.4.99 for mysql", "DatabaseEngineVersion"),
        ("CloudFormation cannot update a stack when a custom-named resource requires replacing. "
         "Rename image-annotation-dev and update the stack again.", "Set the former value"),
    ],
)  # fmt: skip
def test_the_reason_of_a_failed_resource_has_advice(reason, advice):
    assert advice in advice_for(reason)
