"""What can stop a deployment, each as a sentence that says what to do.

    DeploymentError
    ├── UsageError         it was asked for something that cannot be
    └── StackFailedError   a stack did not reach its end

What AWS answers is turned into one of these at the border, by `explained`.
"""

import re

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError


class DeploymentError(Exception):
    """The message is for the person who deploys."""

    exit_code = 1


class UsageError(DeploymentError):
    """It was asked for something that cannot be."""

    exit_code = 2


class StackFailedError(DeploymentError):
    """A stack did not reach its end. The first line of the message is the first real cause."""


# What a reason of AWS's means for a person, most particular first. The same words come in refused
# calls and in the events of stacks.
_ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"ExpiredToken|RequestExpired|security token.*expired|token has expired",
        "Your AWS credentials have expired. Renew them (aws sso login, or the lab's new keys) and "
        "run the same command again; stacks under way go on by themselves.",
    ),
    (
        r"InvalidClientTokenId|UnrecognizedClient|security token.*invalid|OptInRequired"
        r"|SignatureDoesNotMatch|AuthFailure",
        "AWS does not accept these credentials here. Check them with `aws sts "
        "get-caller-identity`, that the region is one your account has enabled, and this "
        "machine's clock.",
    ),
    (
        r"AddressLimitExceeded|maximum number of addresses",
        "The account has no Elastic IP address left for a NAT gateway: release one, choose "
        "fewer with NatMode, or ask for more under Service Quotas → Amazon EC2 → EC2-VPC Elastic "
        "IPs.",
    ),
    (
        r"VpcLimitExceeded|maximum number of VPCs",
        "The region has no room for another VPC: delete an unused one, choose another --region, "
        "or ask for more under Service Quotas → Amazon VPC → VPCs per Region.",
    ),
    (
        r"VcpuLimitExceeded|vCPU (capacity|limit)|InstanceLimitExceeded",
        "The account may not run that many instances: choose a smaller InstanceType or fewer "
        "instances, or ask for more under Service Quotas → Amazon EC2 → Running On-Demand "
        "Standard instances.",
    ),
    (
        r"UnreservedConcurrentExecution",
        "The account has too little Lambda concurrency to reserve any: set the reserved "
        "concurrency parameters to 0, or ask for more under Service Quotas → AWS Lambda → "
        "Concurrent executions.",
    ),
    (
        r"SUCCESS signal|resource signal\(s\)",
        "The instances started, and the application on them did not become healthy in time. Its "
        "own words are in `python -m deployment logs web`; what the instance did is in the "
        "console under EC2 → the instance → Monitor and troubleshoot → Get system log.",
    ),
    (
        r"media type .*not supported|image manifest.*not supported",
        "Lambda cannot read that image: it was built for several platforms or with provenance. "
        "Delete it from its repository and run `up`, which builds it as Lambda wants it.",
    ),
    (
        r"No export named",
        "A stack that comes earlier is missing: run `up`, or deploy the stacks in order.",
    ),
    (
        r"Export .* cannot be (deleted|updated|removed)|in use by",
        "Another stack still uses what this one exports: take the later stack down first, or "
        "undo the change.",
    ),
    (
        r"TerminationProtection",
        "Somebody protected the stack from deletion. If it is meant to go: aws cloudformation "
        "update-termination-protection --no-enable-termination-protection --stack-name …",
    ),
    (
        r"DeletionProtection|deletion protection|Cannot delete protected",
        "Deletion protection is on. Turn the parameter off, run `up`, then `down` again.",
    ),
    (
        r"BucketNotEmpty|bucket you tried to delete is not empty|RepositoryNotEmpty",
        "It still holds something, and CloudFormation deletes only what is empty: `down "
        "--delete-data` empties it first.",
    ),
    (
        r"Cannot find version|not supported.*(engine|DB instance)|EngineVersion",
        "RDS does not offer that version or size in this region: set DatabaseEngineVersion or "
        "DatabaseInstanceClass to one of `aws rds describe-orderable-db-instance-options "
        "--engine mysql`.",
    ),
    (
        r"InsufficientDBInstanceCapacity|InsufficientInstanceCapacity",
        "AWS has no machine of that size free in this zone just now: try again later, or choose "
        "another size.",
    ),
    (
        r"ServiceQuotaExceeded|LimitExceeded|QuotaExceeded|limit.*exceeded",
        "A quota of the account is used up. Delete what is unused, or ask for more under Service "
        "Quotas in the console.",
    ),
    (
        r"Throttl|Rate exceeded|RequestLimitExceeded|TooManyRequests|SlowDown",
        "AWS asks to slow down. Wait a minute and run the same command again; nothing is lost.",
    ),
    (
        r"AccessDenied|not authorized to perform|UnauthorizedOperation|Forbidden|explicit deny",
        "These credentials lack a permission. deployment/README.md lists what the operator needs; "
        "an account that may create no roles needs `--parameters lab`.",
    ),
    (
        r"Template (format error|error)|ValidationError",
        "CloudFormation refuses the template or a parameter: correct what it names; `make lint` "
        "reads the templates without an account.",
    ),
)


def advice_for(reason: str) -> str | None:
    """What a person can do about a reason AWS gave, if that is known."""
    for pattern, advice in _ADVICE:
        if re.search(pattern, reason, re.IGNORECASE | re.DOTALL):
            return advice
    return None


def explained(error: BotoCoreError | ClientError) -> DeploymentError:
    """What AWS, or the way to it, refused, in words for a person."""
    match error:
        case ClientError():
            return DeploymentError(_refusal(error))
        case (
            exceptions.NoCredentialsError()
            | exceptions.PartialCredentialsError()
            | exceptions.ProfileNotFound()
        ):
            return DeploymentError(
                f"No AWS credentials were found ({error}). Set AWS_PROFILE, or AWS_ACCESS_KEY_ID "
                "and AWS_SECRET_ACCESS_KEY, or run `aws configure sso`."
            )
        case (
            exceptions.UnauthorizedSSOTokenError()
            | exceptions.SSOTokenLoadError()
            | exceptions.TokenRetrievalError()
            | exceptions.CredentialRetrievalError()
        ):
            return DeploymentError(
                f"Your sign-in to AWS has expired ({error}). Run `aws sso login` and the same "
                "command again; stacks under way go on by themselves."
            )
        case exceptions.NoRegionError():
            return UsageError("Say which region: --region eu-central-1, or set AWS_REGION.")
        case exceptions.EndpointConnectionError():
            return DeploymentError(
                f"{error} Check the network and the region, and run the same command again; "
                "stacks under way go on by themselves."
            )
        case exceptions.HTTPClientError() | exceptions.ConnectionError():
            return DeploymentError(
                f"AWS could not be reached: {error}. Check the network and run the same command "
                "again; stacks under way go on by themselves."
            )
        case _:
            return DeploymentError(f"The AWS client gave up: {error}")


def _refusal(error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", "") or code
    refusal = f"AWS refused {error.operation_name}: {message.rstrip('.')} ({code})."
    advice = advice_for(f"{code} {message}")
    return f"{refusal}\n{advice}" if advice else refusal
