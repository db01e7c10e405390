"""Each state a stack can be found in, and what a deployment does about it."""

import io
from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import ANY, Stubber

from deployment.cloudformation import CloudFormation, WantedStack
from deployment.console import Console
from deployment.errors import DeploymentError, StackFailedError

NAME = "dev-02-application-stack"
STACK_ID = f"arn:aws:cloudformation:eu-west-1:111122223333:stack/{NAME}/1"
WANTED = WantedStack(NAME, "02-application-stack", "{}", {"Environment": "dev"}, {"a": "b"})
NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Script:
    """What CloudFormation will be asked, in order, and what it answers."""

    def __init__(self):
        client = boto3.client(
            "cloudformation",
            region_name="eu-west-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        self.stubber = Stubber(client)
        self.printed = io.StringIO()
        self.slept = []
        self.stacks = CloudFormation(client, Console(self.printed), self.slept.append)
        self._numbers = iter(range(1, 1000))

    def is_there(self, status, reason=""):
        stack = {
            "StackId": STACK_ID,
            "StackName": NAME,
            "StackStatus": status,
            "StackStatusReason": reason,
            "CreationTime": NOW,
            "Outputs": [{"OutputKey": "DatabaseHost", "OutputValue": "db"}],
        }
        self.stubber.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": ANY})

    def is_not_there(self):
        self.stubber.add_client_error(
            "describe_stacks", "ValidationError", f"Stack with id {NAME} does not exist", 400
        )

    def tells(self, *events):
        """Events, oldest first, as (logical id, status, reason)."""
        found = [
            {
                "StackId": STACK_ID,
                "EventId": str(next(self._numbers)),
                "StackName": NAME,
                "LogicalResourceId": logical_id,
                "PhysicalResourceId": STACK_ID if logical_id == NAME else "",
                "ResourceType": (
                    "AWS::CloudFormation::Stack" if logical_id == NAME else "AWS::RDS::DBInstance"
                ),
                "ResourceStatus": status,
                "ResourceStatusReason": reason,
                "Timestamp": NOW,
            }
            for logical_id, status, reason in events
        ]
        self.stubber.add_response("describe_stack_events", {"StackEvents": found[::-1]})

    def takes(self, operation, answer=None, **expected):
        self.stubber.add_response(operation, answer or {}, expected or None)

    def documents_errors(self, operation, code, message):
        self.stubber.add_client_error(operation, code, message, 400)

    @property
    def text(self):
        return self.printed.getvalue()


@pytest.fixture
def script():
    script = Script()
    with script.stubber:
        yield script
        script.stubber.assert_no_pending_responses()


def test_a_stack_that_is_not_there_is_created_and_followed_to_its_end(script):
    script.is_not_there()
    script.takes("create_stack", {"StackId": STACK_ID}, **WANTED.request(), ClientRequestToken=ANY)
    script.is_there("CREATE_IN_PROGRESS")
    script.tells((NAME, "CREATE_IN_PROGRESS", ""), ("Database", "CREATE_IN_PROGRESS", ""))
    script.is_there("CREATE_COMPLETE")
    script.tells(("Database", "CREATE_COMPLETE", ""), (NAME, "CREATE_COMPLETE", ""))

    stack = script.stacks.deploy(WANTED)

    assert stack.outputs == {"DatabaseHost": "db"}
    assert "Database (AWS::RDS::DBInstance) create complete" in script.text
    assert len(script.slept) == 1


def test_a_stack_that_is_as_wanted_is_left_alone(script):
    script.is_there("UPDATE_COMPLETE")
    script.tells((NAME, "UPDATE_COMPLETE", ""))
    script.documents_errors("update_stack", "ValidationError", "No updates are to be performed.")

    stack = script.stacks.deploy(WANTED)

    assert stack.outputs == {"DatabaseHost": "db"}
    assert "is as it should be" in script.text


def test_a_stack_that_differs_is_updated_and_only_new_events_are_told(script):
    script.is_there("CREATE_COMPLETE")
    script.tells((NAME, "CREATE_COMPLETE", ""))
    script.takes("update_stack", {"StackId": STACK_ID}, **WANTED.request(), ClientRequestToken=ANY)
    script.is_there("UPDATE_COMPLETE")
    script.tells(
        (NAME, "CREATE_COMPLETE", ""),
        (NAME, "UPDATE_IN_PROGRESS", "User Initiated"),
        (NAME, "UPDATE_COMPLETE", ""),
    )

    script.stacks.deploy(WANTED)

    assert "create complete" not in script.text
    assert "the stack update complete" in script.text


@pytest.mark.parametrize(
    "status", ["ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS", "ROLLBACK_FAILED", "CREATE_FAILED"]
)
def test_a_stack_that_never_came_to_be_is_cleared_away_and_created(script, status):
    script.is_there(status)
    script.tells((NAME, status, ""))
    script.takes("delete_stack", StackName=STACK_ID)
    script.is_there("DELETE_COMPLETE")
    script.tells((NAME, "DELETE_IN_PROGRESS", ""), (NAME, "DELETE_COMPLETE", ""))
    script.takes("create_stack", {"StackId": STACK_ID})
    script.is_there("CREATE_COMPLETE")
    script.tells((NAME, "CREATE_IN_PROGRESS", ""), (NAME, "CREATE_COMPLETE", ""))

    script.stacks.deploy(WANTED)

    assert f"never came to be ({status})" in script.text


def test_what_an_interrupted_run_began_is_waited_for(script):
    script.is_there("CREATE_IN_PROGRESS")
    script.is_there("CREATE_IN_PROGRESS")
    script.tells((NAME, "CREATE_IN_PROGRESS", ""), ("Database", "CREATE_IN_PROGRESS", ""))
    script.is_there("CREATE_COMPLETE")
    script.tells((NAME, "CREATE_IN_PROGRESS", ""), (NAME, "CREATE_COMPLETE", ""))
    script.tells((NAME, "CREATE_COMPLETE", ""))
    script.documents_errors("update_stack", "ValidationError", "No updates are to be performed.")

    script.stacks.deploy(WANTED)

    assert "is being worked on already (CREATE_IN_PROGRESS)" in script.text


def test_the_first_real_cause_of_a_failure_comes_first(script):
    script.is_not_there()
    script.takes("create_stack", {"StackId": STACK_ID})
    script.is_there("ROLLBACK_COMPLETE")
    events = (
        (NAME, "CREATE_IN_PROGRESS", "User Initiated"),
        ("Parameters", "CREATE_FAILED", "Resource creation cancelled"),
        ("Database", "CREATE_FAILED", "The maximum number of addresses has been reached."),
        (NAME, "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [Database]."),
        (NAME, "ROLLBACK_COMPLETE", ""),
    )
    script.tells(*events)
    script.tells(*events)

    with pytest.raises(StackFailedError) as failed:
        script.stacks.deploy(WANTED)

    first, advice, after = str(failed.value).splitlines()
    assert first == (
        "02-application-stack failed at Database (AWS::RDS::DBInstance): "
        "The maximum number of addresses has been reached."
    )
    assert "Elastic IP" in advice
    assert "the next `up` begins it anew" in after


def test_an_update_that_was_taken_back_says_so(script):
    script.is_there("CREATE_COMPLETE")
    script.tells((NAME, "CREATE_COMPLETE", ""))
    script.takes("update_stack", {"StackId": STACK_ID})
    script.is_there("UPDATE_ROLLBACK_COMPLETE")
    events = (
        (NAME, "UPDATE_IN_PROGRESS", "User Initiated"),
        ("Web", "UPDATE_FAILED", "Received 0 SUCCESS signal(s) out of 1."),
        (NAME, "UPDATE_ROLLBACK_COMPLETE", ""),
    )
    script.tells(*events)
    script.tells(*events)

    with pytest.raises(StackFailedError, match="logs web") as failed:
        script.stacks.deploy(WANTED)

    assert "is again as it was before" in str(failed.value)


def test_a_rollback_that_failed_is_led_out_of_by_a_person(script):
    script.is_there("UPDATE_ROLLBACK_FAILED", "Database could not be modified")

    with pytest.raises(DeploymentError, match="continue-update-rollback --stack-name dev-02"):
        script.stacks.deploy(WANTED)


def test_a_half_deleted_stack_is_not_built_upon(script):
    script.is_there("DELETE_FAILED", "bucket not empty")

    with pytest.raises(DeploymentError, match="Run `down` to finish that, then `up`"):
        script.stacks.deploy(WANTED)


def test_a_deletion_that_fails_names_what_could_not_go(script):
    script.is_there("CREATE_COMPLETE")
    script.tells((NAME, "CREATE_COMPLETE", ""))
    script.takes("delete_stack")
    script.is_there("DELETE_FAILED")
    events = (
        (NAME, "DELETE_IN_PROGRESS", "User Initiated"),
        ("Bucket", "DELETE_FAILED", "The bucket you tried to delete is not empty"),
        (NAME, "DELETE_FAILED", "The following resource(s) failed to delete: [Bucket]."),
    )
    script.tells(*events)
    script.tells(*events)

    with pytest.raises(StackFailedError, match="failed at Bucket") as failed:
        script.stacks.delete(NAME, "02-application-stack")

    assert "--delete-data" in str(failed.value)


def test_a_stack_that_is_gone_already_is_deleted(script):
    script.is_not_there()

    script.stacks.delete(NAME, "02-application-stack")

    assert "is not there" in script.text


def test_a_preview_leaves_no_change_set_behind(script):
    script.takes("create_change_set", {"Id": "change-set"})
    script.takes(
        "describe_change_set",
        {
            "Status": "CREATE_COMPLETE",
            "Changes": [
                {
                    "Type": "Resource",
                    "ResourceChange": {
                        "Action": "Modify",
                        "LogicalResourceId": "Database",
                        "ResourceType": "AWS::RDS::DBInstance",
                        "Replacement": "True",
                        "Details": [{"Target": {"Attribute": "Properties", "Name": "Engine"}}],
                    },
                }
            ],
        },
    )
    script.takes("delete_change_set", ChangeSetName="change-set")

    with script.stacks.previewed(WANTED) as [change]:
        assert (change.logical_id, change.replacement) == ("Database", "True")
        assert change.causes == ("Engine",)


def test_a_preview_without_changes_is_empty(script):
    script.takes("create_change_set", {"Id": "change-set"})
    reason = "The submitted information didn't contain changes."
    script.takes("describe_change_set", {"Status": "FAILED", "StatusReason": reason})
    script.takes("delete_change_set")

    with script.stacks.previewed(WANTED) as changes:
        assert changes == []
