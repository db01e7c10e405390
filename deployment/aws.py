"""The account a deployment works in. All clients are made here, and nowhere else."""

import difflib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import NoRegionError

from deployment.errors import UsageError

if TYPE_CHECKING:
    from mypy_boto3_cloudformation import CloudFormationClient
    from mypy_boto3_ecr import ECRClient
    from mypy_boto3_elbv2 import ElasticLoadBalancingv2Client
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_logs import CloudWatchLogsClient
    from mypy_boto3_rds import RDSClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

# A deployment asks for half an hour: it waits out throttling rather than fail.
_CONFIG = Config(
    connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 8}
)


@dataclass(frozen=True)
class Account:
    """Whose account it is, and where."""

    id: str
    partition: str  # `aws`, `aws-cn`, `aws-us-gov`
    region: str


class AWS:
    """Clients of one region.

    Args:
        region: such as `eu-central-1`; None: what the environment or the profile names.
    Raises:
        NoRegionError: nobody named a region.
        UsageError: there is no such region.
    """

    def __init__(self, region: str | None = None) -> None:
        self._session = boto3.Session(region_name=region)
        name = self._session.region_name
        if not name:
            raise NoRegionError
        self.region: str = name
        known = [
            region
            for partition in self._session.get_available_partitions()
            for region in self._session.get_available_regions("cloudformation", partition)
        ]
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else ""
            raise UsageError(f"There is no AWS region “{name}”.{hint}")

    @cached_property
    def account(self) -> Account:
        """The account whose credentials these are."""
        client: STSClient = self._session.client("sts", config=_CONFIG)
        identity = client.get_caller_identity()
        partition = identity["Arn"].split(":")[1]
        return Account(identity["Account"], partition, self.region)

    @cached_property
    def cloudformation(self) -> "CloudFormationClient":
        """Stacks."""
        return self._session.client("cloudformation", config=_CONFIG)

    @cached_property
    def ecr(self) -> "ECRClient":
        """Images."""
        return self._session.client("ecr", config=_CONFIG)

    @cached_property
    def elbv2(self) -> "ElasticLoadBalancingv2Client":
        """The load balancer's view of the web servers."""
        return self._session.client("elbv2", config=_CONFIG)

    @cached_property
    def events(self) -> "EventBridgeClient":
        """The bus on which work is asked for again."""
        return self._session.client("events", config=_CONFIG)

    @cached_property
    def logs(self) -> "CloudWatchLogsClient":
        """What the parts logged."""
        return self._session.client("logs", config=_CONFIG)

    @cached_property
    def rds(self) -> "RDSClient":
        """The database server."""
        return self._session.client("rds", config=_CONFIG)

    @cached_property
    def s3(self) -> "S3Client":
        """The buckets, when they are emptied."""
        return self._session.client("s3", config=_CONFIG)

    @cached_property
    def secretsmanager(self) -> "SecretsManagerClient":
        """The Gemini key's place."""
        return self._session.client("secretsmanager", config=_CONFIG)

    @cached_property
    def sqs(self) -> "SQSClient":
        """The dead letters."""
        return self._session.client("sqs", config=_CONFIG)
