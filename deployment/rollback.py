"""The alarms of the web servers that roll an update of them back."""

from deployment.environment import Environment
from deployment.stacks import WEB

ALARMS = ("ServerErrorsAlarm", "LoadBalancerErrorsAlarm", "UnhealthyServersAlarm")


def rollback_triggers(environment: Environment) -> tuple[str, ...]:
    """Return the ARNs of the existing alarms, without those that ring already.

    An alarm that rings before the update would roll back the update that silences it.
    """
    stack = environment.find(WEB)
    resources = environment.stacks.resources(stack.id) if stack else ()
    names = [physical_id for logical_id, _type, physical_id in resources if logical_id in ALARMS]
    if not names:  # DescribeAlarms would describe all alarms of the account.
        return ()
    found = environment.aws.cloudwatch.describe_alarms(AlarmNames=names)["MetricAlarms"]
    ringing = [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]
    if ringing:
        environment.console.print_step(
            WEB, f"{', '.join(ringing)} rings already, so it cannot roll this update back", "error"
        )
    return tuple(alarm["AlarmArn"] for alarm in found if alarm["StateValue"] != "ALARM")
