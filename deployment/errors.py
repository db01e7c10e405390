"""Errors of the deployment, and advice for the errors of AWS.

    DeploymentError
    ├── UsageError         the command, an option or a parameter file is invalid
    └── StackFailedError   a stack could not be created, updated or deleted

`explain` converts the exceptions of botocore to these.
"""

import re

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError


class DeploymentError(Exception):
    """A failure. Its message says what happened and what the operator can do."""

    exit_code = 1


class UsageError(DeploymentError):
    """An invalid command, option or parameter file."""

    exit_code = 2


class StackFailedError(DeploymentError):
    """A failed stack operation. The first line of the message is the first cause."""


_RUN_AGAIN = (
    "run the same command again. Stack operations in progress continue without this command."
)

# Advice by a pattern of AWS's error text, the most specific first. The same texts appear in API
# errors and in stack events.
ADVICE: tuple[tuple[str, str], ...] = (
    (
        r"ExpiredToken|RequestExpired|security token.*expired|token has expired",
        "Your AWS credentials have expired. Renew them (`aws sso login`, or new keys of the lab) "
        f"and {_RUN_AGAIN}",
    ),
    (
        r"InvalidClientTokenId|UnrecognizedClient|security token.*invalid|OptInRequired"
        r"|SignatureDoesNotMatch|AuthFailure",
        "AWS rejected these credentials. Check them with `aws sts get-caller-identity`. Also check "
        "that the region is enabled in your account and that the clock of this machine is right.",
    ),
    (
        r"AddressLimitExceeded|maximum number of addresses",
        "The account has no Elastic IP address left for a NAT gateway. Release one, set NatMode to "
        "use fewer, or request more under Service Quotas → Amazon EC2 → EC2-VPC Elastic IPs.",
    ),
    (
        r"VpcLimitExceeded|maximum number of VPCs",
        "The account cannot create another VPC in this region. Delete an unused one, choose "
        "another --region, or request more under Service Quotas → Amazon VPC → VPCs per Region.",
    ),
    (
        r"VcpuLimitExceeded|vCPU (capacity|limit)|InstanceLimitExceeded",
        "The account cannot run that many instances. Choose a smaller InstanceType or fewer "
        "instances, or request more under Service Quotas → Amazon EC2 → Running On-Demand "
        "Standard instances.",
    ),
    (
        r"UnreservedConcurrentExecution",
        "The account has too little Lambda concurrency to reserve any. Set the reserved "
        "concurrency parameters to 0, or request more under Service Quotas → AWS Lambda → "
        "Concurrent executions.",
    ),
    (
        r"(FAILURE|SUCCESS) signal|resource signal\(s\)",
        "The instances started, but the application did not. The last lines of their start are "
        "above, if there are any. Read more with `python -m deployment logs web`, and in the AWS "
        "console under EC2 → the instance → Monitor and troubleshoot → Get system log. With "
        "`up --keep-on-failure` the instances stay, so that you can connect to one with Session "
        "Manager.",
    ),
    (
        r"Export with name .* is already exported",
        "Another stack of this account already uses that export name. Choose another "
        "--environment, or delete the other stack.",
    ),
    (
        r"(repository|AWS::ECR::Repository).*already exists|already exists in the registry",
        "A repository of that name exists, but belongs to no stack of this environment. Delete it, "
        "or choose another --environment.",
    ),
    (
        r"availability zone",
        "A service does not work in that zone. Set FirstZone and SecondZone of 01-vpc-network to "
        "other zones. A new environment can choose any two; an existing one must be deleted first.",
    ),
    (
        r"media type .*not supported|image manifest.*not supported",
        "Lambda does not support that image: it was built for several platforms or with "
        "provenance. Delete it from its repository and run `up`, which builds a supported one.",
    ),
    (
        r"No export named",
        "An earlier stack is missing. Run `up`, or deploy the stacks in order.",
    ),
    (
        r"Export .* cannot be (deleted|updated|removed)|in use by",
        "Another stack still uses an export of this one. Delete the later stack first, or undo the "
        "change.",
    ),
    (
        r"custom-named resource requires replacing",
        "This change would replace a resource with a fixed name: the database or a repository of "
        "images. KmsKeyArn, DatabaseName, DatabaseUser and DatabaseSnapshotIdentifier can be set "
        "only when an environment is created. Set the former value again and run `up`, or create "
        "a new environment.",
    ),
    (
        r"denied by stack policy",
        "This update would replace or delete the database, a bucket or a secret, with what is in "
        "it. Run `plan` to see the cause. To do it anyway, make a backup and run "
        "`up --allow-replacement`.",
    ),
    (
        r"rollback trigger|alarm.*(ALARM state|breach)|(ALARM state|breach).*alarm",
        "An alarm of the web servers rang during the update or in the ten minutes after it, so the "
        "previous version runs again. Read the log of the servers (`logs web`).",
    ),
    (
        r"TerminationProtection",
        "The stack is protected from deletion. To delete it, first run: aws cloudformation "
        "update-termination-protection --no-enable-termination-protection --stack-name …",
    ),
    (
        r"DeletionProtection|deletion protection|Cannot delete protected",
        "Deletion protection is on. Set the parameter to false, run `up`, then `down` again.",
    ),
    (
        r"BucketNotEmpty|bucket you tried to delete is not empty|RepositoryNotEmpty",
        "CloudFormation deletes only empty buckets and repositories. Run `down --delete-data`, "
        "which empties them first.",
    ),
    (
        r"Cannot find version|not supported.*(engine|DB instance)|EngineVersion",
        "RDS does not offer that version or size in this region. Set DatabaseEngineVersion or "
        "DatabaseInstanceClass to one of `aws rds describe-orderable-db-instance-options "
        "--engine mysql`.",
    ),
    (
        r"InsufficientDBInstanceCapacity|InsufficientInstanceCapacity",
        "AWS currently has no free capacity of that size in this zone. Try again later, or choose "
        "another size.",
    ),
    (
        r"ServiceQuotaExceeded|LimitExceeded|QuotaExceeded|limit.*exceeded",
        "A quota of the account is used up. Delete unused resources, or request more under Service "
        "Quotas in the AWS console.",
    ),
    (
        r"Throttl|Rate exceeded|RequestLimitExceeded|TooManyRequests|SlowDown",
        "AWS is limiting the request rate. Wait a minute and run the same command again. Nothing "
        "is lost.",
    ),
    (
        r"AccessDenied|not authorized to perform|UnauthorizedOperation|Forbidden|explicit deny",
        "These credentials, or the role of --role-arn, lack a permission. deployment/README.md "
        "says how to use the policies of this project. If the account cannot create roles, use "
        "`--parameters lab`.",
    ),
    (
        r"Template (format error|error)|ValidationError",
        "CloudFormation rejected the template or a parameter. Correct the named value. `make lint` "
        "checks the templates without an account.",
    ),
)


def advice_for(reason: str) -> str | None:
    """Return advice for an error text of AWS, or None if there is none."""
    for pattern, advice in ADVICE:
        if re.search(pattern, reason, re.IGNORECASE | re.DOTALL):
            return advice
    return None


def explain(error: BotoCoreError | ClientError) -> DeploymentError:
    """Convert an exception of botocore to an error that says what to do."""
    match error:
        case ClientError():
            return DeploymentError(_describe_client_error(error))
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
                f"Your sign-in to AWS has expired ({error}). Run `aws sso login` and {_RUN_AGAIN}"
            )
        case exceptions.NoRegionError():
            return UsageError("No AWS region is set. Use --region eu-central-1 or set AWS_REGION.")
        case exceptions.EndpointConnectionError():
            return DeploymentError(f"{error} Check the network and the region, and {_RUN_AGAIN}")
        case exceptions.HTTPClientError() | exceptions.ConnectionError():
            return DeploymentError(
                f"AWS could not be reached: {error}. Check the network and {_RUN_AGAIN}"
            )
        case _:
            return DeploymentError(f"The AWS client failed: {error}. Run the same command again.")


def _describe_client_error(error: ClientError) -> str:
    code = error.response.get("Error", {}).get("Code", "")
    message = error.response.get("Error", {}).get("Message", "") or code
    text = f"AWS rejected {error.operation_name}: {message.rstrip('.')} ({code})."
    advice = advice_for(f"{code} {message}")
    return f"{text}\n{advice}" if advice else text
