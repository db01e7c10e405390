"""Facts for the policies of the operator and of CloudFormation's role beside the templates.

The permissions of each resource type come from AWS's schemas. Here is what the schemas do not say:
the requests of the commands, the names of the resources, and what the schemas name for services
and properties that the templates do not use.
"""

from typing import Any

_ACCOUNT = "REGION:ACCOUNT"
_EC2 = f"arn:aws:ec2:{_ACCOUNT}:*"

# The requests of the modules of this package. A test compares them with the code.
COMMAND_ACTIONS = frozenset(
    {
        "cloudformation:ContinueUpdateRollback",
        "cloudformation:CreateChangeSet",
        "cloudformation:CreateStack",
        "cloudformation:DeleteChangeSet",
        "cloudformation:DeleteStack",
        "cloudformation:DescribeChangeSet",
        "cloudformation:DescribeStackEvents",
        "cloudformation:DescribeStacks",
        "cloudformation:ListStackResources",
        "cloudformation:ListStacks",
        "cloudformation:SetStackPolicy",
        "cloudformation:TagResource",  # For the tags of a stack.
        "cloudformation:UntagResource",
        "cloudformation:UpdateStack",
        "cloudformation:UpdateTerminationProtection",
        "cloudwatch:DescribeAlarms",
        # docker, podman and buildah push and, for layers that they reuse, pull.
        "ecr:BatchCheckLayerAvailability",
        "ecr:BatchDeleteImage",
        "ecr:BatchGetImage",
        "ecr:CompleteLayerUpload",
        "ecr:DescribeImages",
        "ecr:GetAuthorizationToken",
        "ecr:GetDownloadUrlForLayer",
        "ecr:InitiateLayerUpload",
        "ecr:ListImages",
        "ecr:PutImage",
        "ecr:UploadLayerPart",
        "elasticloadbalancing:DescribeLoadBalancerAttributes",
        "elasticloadbalancing:DescribeTargetGroups",
        "elasticloadbalancing:DescribeTargetHealth",
        "elasticloadbalancing:ModifyLoadBalancerAttributes",
        "events:PutEvents",
        "iam:PassRole",  # The role of --role-arn.
        "lambda:InvokeFunction",  # The migration, which updates the users of the database.
        "logs:FilterLogEvents",
        "rds:DescribeDBInstances",
        "rds:ModifyDBInstance",
        "s3:DeleteBucket",
        "s3:DeleteObject",
        "s3:DeleteObjectVersion",
        "s3:GetObject",  # HeadObject.
        "s3:ListBucket",  # HeadBucket and ListObjects.
        "s3:ListBucketVersions",
        "secretsmanager:DeleteSecret",
        "secretsmanager:GetSecretValue",
        "secretsmanager:PutSecretValue",
        "sqs:ChangeMessageVisibility",
        "sqs:DeleteMessage",
        "sqs:GetQueueAttributes",
        "sqs:GetQueueUrl",
        "sqs:ReceiveMessage",
        "sts:GetCallerIdentity",
    }
)

# What CloudFormation needs for a type beside the permissions of its schema.
MORE_ACTIONS: dict[str, tuple[str, ...]] = {
    # Parameters of the type AWS::SSM::Parameter::Value, and the image of a launch template.
    "*": ("ssm:GetParameters",),
    "Custom::Migration": ("lambda:InvokeFunction",),
    # The author of a function must be allowed to read its image, and Lambda may add itself to the
    # policy of the repository. https://docs.aws.amazon.com/lambda/latest/dg/images-create.html
    "AWS::Lambda::Function": (
        "ecr:BatchGetImage",
        "ecr:GetDownloadUrlForLayer",
        "ecr:GetRepositoryPolicy",
        "ecr:SetRepositoryPolicy",
    ),
    # Auto Scaling checks with the caller's permissions that it could start a server.
    # https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html
    "AWS::AutoScaling::AutoScalingGroup": ("ec2:RunInstances", "ec2:CreateTags"),
    # The final snapshot.
    "AWS::RDS::DBInstance": ("rds:CreateDBSnapshot", "rds:DescribeDBSnapshots"),
}

# Permissions of the schemas for other services than those of the templates.
LEFT_OUT = (
    "acm-pca:*",  # Private certificates.
    "amplify:*",  # Web ACLs of other services than the load balancer, also in the next six.
    "apigateway:*",
    "apprunner:*",
    "appsync:*",
    "bedrock-agentcore:*",
    "cognito-idp:*WebACL*",
    "ec2:*VerifiedAccess*",
    "billing:*",  # Budgets of another billing view.
    "ec2:CreateVpcEncryptionControl",  # An option of a network that the templates do not use.
    "ec2:Get*",  # For groups that choose servers by attributes.
    "elasticfilesystem:*",
    "firehose:*",
    "iam:ListRoles",  # For options of RDS that the templates do not use.
    "managed-fleets:*",
    "payments:*",  # Paid rule groups of the marketplace.
    "s3:GetObject*",  # Code of functions that are no images.
    "s3:REST.PUT.OBJECT",  # Not an action.
    "s3files:*",
    "s3tables:*",
    "ssm:Get*",  # Named more narrowly above.
    "vpc-lattice:*",
    "vpce:*",
)

# Permissions that a type needs only where a template uses this property.
FEATURES: dict[str, dict[str, tuple[str, ...]]] = {
    "AWS::AutoScaling::AutoScalingGroup": {
        "LifecycleHookSpecificationList": ("autoscaling:*LifecycleHook",),
        "LoadBalancerNames": ("autoscaling:*achLoadBalancers",),
        "NotificationConfigurations": ("autoscaling:*NotificationConfiguration",),
        "TrafficSources": ("autoscaling:*TrafficSources",),
    },
    "AWS::AutoScaling::ScalingPolicy": {
        "PredictiveScalingConfiguration": ("cloudwatch:GetMetricData",),
    },
    "AWS::EC2::EIP": {
        "InstanceId": ("ec2:AssociateAddress",),
        "TransferAddress": ("ec2:AcceptAddressTransfer",),
    },
    "AWS::EC2::NatGateway": {"SecondaryAllocationIds": ("ec2:*NatGatewayAddress",)},
    "AWS::EC2::Subnet": {"Ipv6CidrBlock": ("ec2:*SubnetCidrBlock",)},
    "AWS::EC2::VPC": {"InstanceTenancy": ("ec2:ModifyVpcTenancy",)},
    "AWS::EC2::VPCGatewayAttachment": {"VpnGatewayId": ("ec2:*tachVpnGateway",)},
    "AWS::ElasticLoadBalancingV2::LoadBalancer": {
        "IpAddressType": ("elasticloadbalancing:SetIpAddressType",),
        "Ipv4IpamPoolId": ("elasticloadbalancing:ModifyIpPools",),
        "MinimumLoadBalancerCapacity": ("elasticloadbalancing:ModifyCapacityReservation",),
    },
    "AWS::IAM::ManagedPolicy": {
        "Groups": ("iam:*GroupPolicy",),
        "Users": ("iam:*UserPolicy",),
    },
    "AWS::Lambda::Function": {
        "CapacityProviderConfig": ("lambda:PassCapacityProvider",),
        "CodeSigningConfigArn": ("lambda:[!G]*CodeSigningConfig", "lambda:GetCodeSigningConfig"),
        "FunctionScalingConfig": ("lambda:PutFunctionScalingConfig",),
        "KmsKeyArn": ("kms:Encrypt",),
        "Layers": ("lambda:GetLayerVersion",),
        "PublishToLatestPublished": ("lambda:PublishVersion",),
        "RecursiveLoop": ("lambda:PutFunctionRecursionConfig",),
        "RuntimeManagementConfig": ("lambda:PutRuntime*", "lambda:AssociateRuntimeAlias"),
    },
    "AWS::Logs::LogGroup": {
        "BearerTokenAuthenticationEnabled": ("logs:PutBearerTokenAuthentication",),
        "DataProtectionPolicy": ("logs:*DataProtectionPolicy", "logs:CreateLogDelivery"),
        "DeletionProtectionEnabled": ("logs:PutLogGroupDeletionProtection",),
        "FieldIndexPolicies": ("logs:PutIndexPolicy", "logs:DeleteIndexPolicy"),
        "KmsKeyId": ("logs:*KmsKey",),
        "ResourcePolicyDocument": ("logs:PutResourcePolicy", "logs:DeleteResourcePolicy"),
    },
    "AWS::RDS::DBInstance": {
        "AssociatedRoles": ("rds:*RoleToDBInstance", "rds:*RoleFromDBInstance", "iam:PassRole"),
        "AutomaticBackupReplicationRegion": ("rds:*AutomatedBackupsReplication",),
        "DBSnapshotIdentifier": ("rds:RestoreDBInstanceFromDBSnapshot",),
        "SourceDBInstanceIdentifier": ("rds:CreateDBInstanceReadReplica", "rds:Promote*"),
        "UseLatestRestorableTime": ("rds:RestoreDBInstanceToPointInTime",),
    },
    "AWS::S3::Bucket": {
        "AbacStatus": ("s3:PutBucketAbac",),
        "AccelerateConfiguration": ("s3:PutAccelerateConfiguration",),
        "AccessControl": ("s3:Put*Acl",),
        "AnalyticsConfigurations": ("s3:PutAn*", "s3:DeleteBucketAnalyticsConfiguration"),
        "CorsConfiguration": ("s3:PutBucketCORS", "s3:DeleteBucketCors"),
        "IntelligentTieringConfigurations": ("s3:PutIntelligentTieringConfiguration",),
        "InventoryConfigurations": ("s3:PutInventoryConfiguration",),
        "LoggingConfiguration": ("s3:PutBucketLogging",),
        "MetadataTableConfiguration": ("s3:[!G]*BucketMetadata*",),
        "MetricsConfigurations": ("s3:PutMetrics*", "s3:DeleteBucketMetricsConfiguration"),
        "NotificationConfiguration": ("s3:PutBucketNotification",),
        "ObjectLockConfiguration": ("s3:Put*ObjectLockConfiguration",),
        "ReplicationConfiguration": (
            "s3:Put*Replication*",
            "s3:Delete*Replication",
            "iam:PassRole",
        ),
        "WebsiteConfiguration": ("s3:PutBucketWebsite", "s3:DeleteBucketWebsite"),
    },
    "AWS::SNS::Topic": {
        "DataProtectionPolicy": ("sns:PutDataProtectionPolicy", "iam:PassRole"),
    },
    "AWS::SecretsManager::Secret": {"ReplicaRegions": ("secretsmanager:*Regions*",)},
}

# The names of resources. CloudFormation begins most names with the name of the stack, shortens the
# names of load balancers to the first word, and names secrets, web ACLs and dashboards without it.
RESOURCES: dict[str, list[str]] = {
    "acm": [f"arn:aws:acm:{_ACCOUNT}:certificate/*"],
    "autoscaling": [
        f"arn:aws:autoscaling:{_ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/image-annotation-*"
    ],
    "budgets": ["arn:aws:budgets::ACCOUNT:budget/*"],
    "cloudformation": [f"arn:aws:cloudformation:{_ACCOUNT}:stack/image-annotation-*"],
    "cloudwatch": [
        f"arn:aws:cloudwatch:{_ACCOUNT}:alarm:image-annotation-*",
        "arn:aws:cloudwatch::ACCOUNT:dashboard/*",
    ],
    # AWS can check the request for several alarms against all of them.
    "cloudwatch:DescribeAlarms": [f"arn:aws:cloudwatch:{_ACCOUNT}:alarm:*"],
    "cognito-idp": [f"arn:aws:cognito-idp:{_ACCOUNT}:userpool/*"],
    "ec2": [_EC2],
    "ec2:RunInstances": [_EC2, "arn:aws:ec2:REGION::image/*"],
    "ecr": [f"arn:aws:ecr:{_ACCOUNT}:repository/image-annotation-*"],
    "elasticloadbalancing": [
        f"arn:aws:elasticloadbalancing:{_ACCOUNT}:{kind}/image*"
        for kind in ("listener/app", "loadbalancer/app", "targetgroup")
    ],
    "events": [f"arn:aws:events:{_ACCOUNT}:rule/image-annotation-*"],
    "events:PutEvents": [f"arn:aws:events:{_ACCOUNT}:event-bus/default"],
    "iam": [
        "arn:aws:iam::ACCOUNT:role/image-annotation-*",
        "arn:aws:iam::ACCOUNT:policy/image-annotation-*",
        "arn:aws:iam::ACCOUNT:instance-profile/image-annotation-*",
    ],
    "iam:CreateServiceLinkedRole": ["arn:aws:iam::ACCOUNT:role/aws-service-role/*"],
    "kms": [f"arn:aws:kms:{_ACCOUNT}:key/*"],
    "lambda": [f"arn:aws:lambda:{_ACCOUNT}:function:image-annotation-*"],
    "logs": [
        f"arn:aws:logs:{_ACCOUNT}:log-group:image-annotation-*",
        f"arn:aws:logs:{_ACCOUNT}:log-group:/aws/rds/instance/image-annotation-*",
    ],
    "rds": [
        f"arn:aws:rds:{_ACCOUNT}:*:image-annotation-*",
        f"arn:aws:rds:{_ACCOUNT}:og:default*",
    ],
    "rds:RestoreDBInstanceFromDBSnapshot": [f"arn:aws:rds:{_ACCOUNT}:*"],
    "route53": ["arn:aws:route53:::change/*", "arn:aws:route53:::hostedzone/*"],
    "s3": ["arn:aws:s3:::image-annotation-*"],
    "sns": [f"arn:aws:sns:{_ACCOUNT}:image-annotation-*"],
    "sqs": [f"arn:aws:sqs:{_ACCOUNT}:image-annotation-*"],
    "ssm": ["arn:aws:ssm:REGION::parameter/aws/service/*"],
    "wafv2": [
        f"arn:aws:wafv2:{_ACCOUNT}:regional/managedruleset/*",
        f"arn:aws:wafv2:{_ACCOUNT}:regional/webacl/*",
        f"arn:aws:elasticloadbalancing:{_ACCOUNT}:loadbalancer/app/image*",
    ],
}

_OWN_TAG = {"StringEquals": {"aws:ResourceTag/Application": "image-annotation"}}
CONDITIONS: dict[str, dict[str, Any]] = {
    # CloudFormation gives the tags of a stack to its resources.
    "ec2:DeleteInternetGateway": _OWN_TAG,
    "ec2:DeleteNatGateway": _OWN_TAG,
    "ec2:DeleteRouteTable": _OWN_TAG,
    "ec2:DeleteSecurityGroup": _OWN_TAG,
    "ec2:DeleteSubnet": _OWN_TAG,
    "ec2:DeleteVpc": _OWN_TAG,
    "ec2:ReleaseAddress": _OWN_TAG,
    "iam:CreateServiceLinkedRole": {
        "StringLike": {
            "iam:AWSServiceName": [
                "autoscaling.amazonaws.com",
                "elasticloadbalancing.amazonaws.com",
                "rds.amazonaws.com",
            ]
        }
    },
    # Keys are used by the services that hold the data, and not by the operator.
    "kms:*": {"StringLike": {"kms:ViaService": "*.REGION.amazonaws.com"}},
}

# Shorter patterns, mostly for requests that describe resources and read no data.
SHORTER = (
    "autoscaling:*MetricsCollection",
    "autoscaling:*tachLoadBalancerTargetGroups",
    "autoscaling:Describe*",
    "ec2:AuthorizeSecurityGroup*",
    "ec2:Describe*",
    "ec2:RevokeSecurityGroup*",
    "ec2:UpdateSecurityGroupRuleDescriptions*",
    "elasticloadbalancing:Describe*",
    "iam:*RolePermissionsBoundary",
    "iam:UpdateRole*",
    "lambda:GetFunction*",
    "logs:Describe*",
    "rds:*DBParameterGroup",
    "rds:*DBSubnetGroup",
    "rds:Describe*",
    "route53:List*",
    "s3:Get*Configuration",
    "s3:GetBucket*",
)
