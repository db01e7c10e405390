"""AWS clients of one region. Every boto3 client and resource of the deployment is created here."""

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import NoRegionError

from deployment.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_lambda import LambdaClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_s3 import S3ServiceResource
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

# A deployment sends requests for half an hour, so it retries throttled requests patiently.
_CONFIG = Config(
    connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 8}
)
# The migration may take as long as its time-out, and a repeated request would run it again.
_PATIENT_CONFIG = Config(connect_timeout=5, read_timeout=320, retries={"total_max_attempts": 1})


@dataclass(frozen=True)
class Account:
    """The AWS account and region of a deployment."""

    id: str
    partition: str  # `aws`, `aws-cn`, `aws-us-gov`
    region: str


class AWS:
    """The account of the current credentials, and clients of one region.

    Args:
        region: for example `eu-central-1`; None takes it from the environment or the profile.

    Raises:
        NoRegionError: no region is configured.
        UsageError: the region does not exist.
    """

    def __init__(self, region: str | None = None) -> None:
        session = boto3.Session(region_name=region)
        name = session.region_name
        if not name:
            raise NoRegionError
        known = [
            region
            for partition in session.get_available_partitions()
            for region in session.get_available_regions("cloudformation", partition)
        ]
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise UsageError(f"There is no AWS region “{name}”.{hint}")
        # The first request, so that missing credentials are reported before other clients exist.
        sts: STSClient = session.client("sts", config=_CONFIG)
        identity = sts.get_caller_identity()
        self.account = Account(identity["Account"], identity["Arn"].split(":")[1], name)

        self.cloudformation: CloudFormationClient = session.client("cloudformation", config=_CONFIG)
        self.cloudwatch: CloudWatchClient = session.client("cloudwatch", config=_CONFIG)
        self.ecr: ECRClient = session.client("ecr", config=_CONFIG)
        self.elbv2: ElasticLoadBalancingv2Client = session.client("elbv2", config=_CONFIG)
        self.events: EventBridgeClient = session.client("events", config=_CONFIG)
        self.functions: LambdaClient = session.client("lambda", config=_PATIENT_CONFIG)
        self.logs: CloudWatchLogsClient = session.client("logs", config=_CONFIG)
        self.rds: RDSClient = session.client("rds", config=_CONFIG)
        self.s3: S3ServiceResource = session.resource("s3", config=_CONFIG)
        self.secretsmanager: SecretsManagerClient = session.client("secretsmanager", config=_CONFIG)
        self.sqs: SQSClient = session.client("sqs", config=_CONFIG)
