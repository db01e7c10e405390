"""The services beside CloudFormation of an AWS account for tests: what exists, and its data."""

from dataclasses import dataclass, field
from typing import Any

ACCOUNT, REGION = "111122223333", "eu-west-1"
BUCKET = "AWS::S3::Bucket"
DATABASE = "AWS::RDS::DBInstance"
LOAD_BALANCER = "AWS::ElasticLoadBalancingV2::LoadBalancer"
REPOSITORY = "AWS::ECR::Repository"
SECRET = "AWS::SecretsManager::Secret"


class AwsError(Exception):
    """An error response: the code and the message."""

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


@dataclass
class FakeResource:
    """A resource of a stack, as ListStackResources shows it."""

    logical_id: str
    type: str
    physical_id: str
    properties: dict[str, Any]
    policy: str
    status: str = "CREATE_COMPLETE"


@dataclass
class FakeServices:
    """What exists in the account.

    Attributes:
        failing: the logical ids of resources that cannot be created, updated or deleted now.
        objects: the number of objects of each bucket.
        images: the number of images of each repository.
        databases: the names of the existing databases.
        snapshots: the database of each final snapshot.
        backups: the databases with automated backups, also after their deletion.
        protected: the physical ids of databases and load balancers that cannot be deleted.
        secrets: whether the deletion of each secret is scheduled.
        log_groups: the lines of each existing log group.
        alarms: whether each existing alarm rings, by its name.
        migration_fails: whether the migration raises an error when it is invoked.
        invoked: the functions that were invoked.
        data_deleted: what was deleted of buckets, repositories, databases and secrets.
    """

    failing: dict[str, str] = field(default_factory=dict)
    objects: dict[str, int] = field(default_factory=dict)
    images: dict[str, int] = field(default_factory=dict)
    databases: set[str] = field(default_factory=set)
    snapshots: dict[str, str] = field(default_factory=dict)
    backups: set[str] = field(default_factory=set)
    protected: set[str] = field(default_factory=set)
    load_balancers: set[str] = field(default_factory=set)
    secrets: dict[str, bool] = field(default_factory=dict)
    log_groups: dict[str, list[str]] = field(default_factory=dict)
    alarms: dict[str, bool] = field(default_factory=dict)
    migration_fails: bool = False
    invoked: list[str] = field(default_factory=list)
    data_deleted: list[str] = field(default_factory=list)

    # Resources begin and end to exist with their stacks

    def begin_to_exist(self, resource: FakeResource) -> None:
        match resource.type:
            case "AWS::S3::Bucket":
                self.objects[resource.physical_id] = 3
            case "AWS::ECR::Repository":
                self.images[resource.physical_id] = 2
            case "AWS::SecretsManager::Secret":
                self.secrets[resource.physical_id] = False
            case "AWS::RDS::DBInstance":
                self.databases.add(resource.physical_id)
                self.backups.add(resource.physical_id)
            case "AWS::ElasticLoadBalancingV2::LoadBalancer":
                self.load_balancers.add(resource.physical_id)
            case "AWS::Logs::LogGroup":
                self.log_groups[resource.physical_id] = []
            case "AWS::CloudWatch::Alarm":
                self.alarms[resource.physical_id] = False

    def protect(self, resource: FakeResource) -> None:
        wanted = resource.properties.get("DeletionProtection")
        if resource.type == LOAD_BALANCER:
            attributes = resource.properties.get("LoadBalancerAttributes", [])
            values = {each["Key"]: each["Value"] for each in attributes}
            wanted = values.get("deletion_protection.enabled")
        if str(wanted).lower() == "true":
            self.protected.add(resource.physical_id)
        else:
            self.protected.discard(resource.physical_id)

    def write_start_lines(self) -> None:
        """Write what the start of a server writes before it signals its failure."""
        for name, lines in self.log_groups.items():
            if ".weblogs-" in name:
                lines.append("curl: (22) the database refused the connection")

    def obstacle(self, resource: FakeResource) -> str | None:
        """Return why a resource cannot be deleted."""
        if resource.logical_id in self.failing:
            return self.failing[resource.logical_id]
        if resource.physical_id in self.protected:
            return (
                f"{resource.physical_id} cannot be deleted because deletion protection is enabled"
            )
        has_images = resource.type == REPOSITORY and self.images.get(resource.physical_id)
        if has_images and resource.properties.get("EmptyOnDelete") not in (True, "true"):
            return "The repository cannot be deleted because it still contains images"
        return None

    def end_to_exist(self, resource: FakeResource, *, holds_data: bool) -> None:
        name = resource.physical_id
        if holds_data and (resource.type in (BUCKET, DATABASE) or self.images.get(name)):
            self.data_deleted.append(name)
        self.objects.pop(name, None)
        self.images.pop(name, None)
        self.log_groups.pop(name, None)
        self.alarms.pop(name, None)
        if resource.type == SECRET:
            self.secrets[name] = True
        if resource.type == DATABASE and resource.policy == "Snapshot":
            self.snapshots[f"{name}-snapshot"] = name
        self.databases.discard(name)
        self.load_balancers.discard(name)

    # Requests

    def sts_get_caller_identity(self) -> dict[str, Any]:
        return {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/operator", "UserId": "U"}

    def cloudwatch_describe_alarms(self, AlarmNames: list[str]) -> dict[str, Any]:
        found = [name for name in AlarmNames if name in self.alarms]
        return {
            "MetricAlarms": [
                {
                    "AlarmName": name,
                    "AlarmArn": alarm_arn(name),
                    "StateValue": "ALARM" if self.alarms[name] else "OK",
                }
                for name in found
            ]
        }

    def elbv2_describe_load_balancer_attributes(self, LoadBalancerArn: str) -> dict[str, Any]:
        self._require(LoadBalancerArn in self.load_balancers, "LoadBalancerNotFound")
        value = str(LoadBalancerArn in self.protected).lower()
        return {"Attributes": [{"Key": "deletion_protection.enabled", "Value": value}]}

    def elbv2_modify_load_balancer_attributes(
        self, LoadBalancerArn: str, Attributes: list[dict[str, str]]
    ) -> None:
        self._require(LoadBalancerArn in self.load_balancers, "LoadBalancerNotFound")
        if {"Key": "deletion_protection.enabled", "Value": "false"} in Attributes:
            self.protected.discard(LoadBalancerArn)

    def elbv2_describe_target_groups(self, LoadBalancerArn: str) -> dict[str, Any]:
        self._require(LoadBalancerArn in self.load_balancers, "LoadBalancerNotFound")
        return {"TargetGroups": [{"TargetGroupArn": "arn:aws:group"}]}

    def elbv2_describe_target_health(self, TargetGroupArn: str) -> dict[str, Any]:
        target = {"Target": {"Id": "i-1"}, "TargetHealth": {"State": "healthy"}}
        return {"TargetHealthDescriptions": [target]}

    def rds_describe_db_instances(self, DBInstanceIdentifier: str) -> dict[str, Any]:
        self._require(DBInstanceIdentifier in self.databases, "DBInstanceNotFound")
        is_protected = DBInstanceIdentifier in self.protected
        return {"DBInstances": [{"DeletionProtection": is_protected}]}

    def rds_modify_db_instance(
        self, DBInstanceIdentifier: str, DeletionProtection: bool, ApplyImmediately: bool
    ) -> None:
        self._require(DBInstanceIdentifier in self.databases, "DBInstanceNotFound")
        if not DeletionProtection and ApplyImmediately:
            self.protected.discard(DBInstanceIdentifier)

    def rds_describe_db_snapshots(
        self, DBInstanceIdentifier: str, SnapshotType: str
    ) -> dict[str, Any]:
        return {
            "DBSnapshots": [
                {"DBSnapshotIdentifier": name}
                for name, database in self.snapshots.items()
                if database == DBInstanceIdentifier
            ]
        }

    def rds_delete_db_snapshot(self, DBSnapshotIdentifier: str) -> None:
        self._require(DBSnapshotIdentifier in self.snapshots, "DBSnapshotNotFound")
        del self.snapshots[DBSnapshotIdentifier]

    def rds_describe_db_instance_automated_backups(
        self, DBInstanceIdentifier: str
    ) -> dict[str, Any]:
        found = self.backups & {DBInstanceIdentifier}
        return {"DBInstanceAutomatedBackups": [{"DbiResourceId": name} for name in found]}

    def rds_delete_db_instance_automated_backup(self, DbiResourceId: str) -> None:
        self._require(DbiResourceId in self.backups, "DBInstanceAutomatedBackupNotFound")
        self.backups.discard(DbiResourceId)

    def ecr_list_images(self, repositoryName: str) -> dict[str, Any]:
        self._require(repositoryName in self.images, "RepositoryNotFoundException")
        number = self.images[repositoryName]
        return {"imageIds": [{"imageDigest": f"sha256:{index}"} for index in range(number)]}

    def ecr_batch_delete_image(self, repositoryName: str, imageIds: list[Any]) -> None:
        self._require(repositoryName in self.images, "RepositoryNotFoundException")
        self.images[repositoryName] = max(0, self.images[repositoryName] - len(imageIds))
        self.data_deleted.append(repositoryName)

    def s3_list_object_versions(self, Bucket: str, **_: Any) -> dict[str, Any]:
        self._require(Bucket in self.objects, "NoSuchBucket")
        keys = [{"Key": str(index), "VersionId": "1"} for index in range(self.objects[Bucket])]
        return {"Versions": keys, "IsTruncated": False}

    def s3_delete_objects(self, Bucket: str, Delete: dict[str, Any], **_: Any) -> dict[str, Any]:
        self._require(Bucket in self.objects, "NoSuchBucket")
        self.objects[Bucket] = 0
        self.data_deleted.append(Bucket)
        return {"Deleted": Delete["Objects"]}

    def s3_head_bucket(self, Bucket: str) -> None:
        self._require(Bucket in self.objects, "404")

    def s3_delete_bucket(self, Bucket: str) -> None:
        self._require(Bucket in self.objects, "NoSuchBucket")
        self._require(not self.objects[Bucket], "BucketNotEmpty")
        del self.objects[Bucket]
        self.data_deleted.append(Bucket)

    def secretsmanager_get_secret_value(self, SecretId: str) -> dict[str, Any]:
        self._require(SecretId in self.secrets, "ResourceNotFoundException")
        return {"SecretString": "stored"}

    def secretsmanager_delete_secret(self, SecretId: str, RecoveryWindowInDays: int) -> None:
        self._require(SecretId in self.secrets, "ResourceNotFoundException")
        # A deletion can be scheduled once. https://github.com/getmoto/moto/issues/8638
        self._require(not self.secrets[SecretId], "InvalidRequestException")
        self.secrets[SecretId] = True
        self.data_deleted.append(SecretId)

    def logs_filter_log_events(self, logGroupName: str, **_: Any) -> dict[str, Any]:
        self._require(logGroupName in self.log_groups, "ResourceNotFoundException")
        return {
            "events": [
                {
                    "eventId": str(index),
                    "timestamp": index,
                    "message": line,
                    "logStreamName": "start-i-1",
                }
                for index, line in enumerate(self.log_groups[logGroupName])
            ]
        }

    def events_put_events(self, Entries: list[Any]) -> dict[str, Any]:
        return {"FailedEntryCount": 0, "Entries": [{} for _ in Entries]}

    def sqs_receive_message(self, **_: Any) -> dict[str, Any]:
        return {"Messages": []}

    def sqs_get_queue_attributes(self, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:
        return {"Attributes": dict.fromkeys(AttributeNames, "0")}

    def lambda_invoke(self, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        self.invoked.append(FunctionName)
        return {"StatusCode": 200} | (
            {"FunctionError": "Unhandled"} if self.migration_fails else {}
        )

    def _require(self, condition: bool, code: str) -> None:
        if not condition:
            raise AwsError(code)


def alarm_arn(name: str) -> str:
    return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
