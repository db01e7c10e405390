"""Check that an environment is safe for its purpose, before anything is created."""

from deployment.errors import UsageError
from deployment.stacks import APPLICATION, FUNCTIONS, NETWORK, WEB, ParameterFile, Templates


def check_purpose(
    parameter_file: ParameterFile, templates: Templates, *, accepts_plain_http: bool
) -> None:
    """Require protection of a production site, and consent to plain HTTP of any other site.

    Raises:
        UsageError: something is missing. The message has a sentence for each.
    """

    def value(stack: str, parameter: str) -> str:
        return parameter_file.value(templates[stack], parameter)

    if value(WEB, "SignIn") != "none" and value(NETWORK, "AllowLoadBalancerSignIn") != "true":
        raise UsageError(
            f"SignIn of {WEB} needs AllowLoadBalancerSignIn of {NETWORK}: without it, the load "
            "balancer cannot reach the identity provider. Set it to true in the parameter file. "
            "Nothing was created."
        )
    has_https = bool(value(WEB, "CertificateArn") or value(WEB, "HostedZoneId"))
    if value(WEB, "Stage") != "production":
        if not has_https and not accepts_plain_http:
            raise UsageError(
                "This site would use plain HTTP: others in the network of a visitor can see the "
                f"images and take over the cookies. Set HostedZoneId or CertificateArn of {WEB} in "
                "the parameter file, or accept this for a test with --accept-plain-http."
            )
        return
    missing = []
    if not has_https:
        missing.append(f"HTTPS: set HostedZoneId or CertificateArn of {WEB}, and AllowedHosts.")
    if value(WEB, "WebAcl") == "none" and not value(WEB, "WebAclArn"):
        missing.append(f"A web ACL: set WebAcl of {WEB} to managed, or set WebAclArn.")
    if not value(APPLICATION, "AlarmEmail") and not value(APPLICATION, "ExistingAlarmTopicArn"):
        missing.append(
            f"Alarms that reach a person: set AlarmEmail or ExistingAlarmTopicArn of {APPLICATION}."
        )
    if value(FUNCTIONS, "GeminiDailyTokenBudget") == "0":
        missing.append(
            f"A limit of the spending: set GeminiDailyTokenBudget of {FUNCTIONS} and {WEB}."
        )
    if missing:
        raise UsageError(
            f"“{parameter_file.name}” is for production (Stage of {WEB}), but it lacks:\n"
            + "\n".join(f"- {sentence}" for sentence in missing)
            + "\nCopy deployment/parameters/prod.json, add these values, and give the path of the "
            "copy as --parameters. Nothing was created."
        )
