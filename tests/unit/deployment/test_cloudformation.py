"""Deploy and delete stacks that are in each possible state."""

import io
from datetime import UTC, datetime

import boto3
import pytest
from botocore.stub import ANY, Stubber

from deployment.cloudformation import CloudFormation, DesiredStack
from deployment.console import Console
from deployment.errors import StackFailedError

NAME = "image-annotation-dev-02-application-stack"
STACK_ID = f"arn:aws:cloudformation:eu-west-1:111122223333:stack/{NAME}/1"
DESIRED = DesiredStack(NAME, "02-application-stack", "{}", {"Environment": "dev"}, {"a": "b"})
NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Script:
    """The expected requests to CloudFormation, in order, and the responses."""

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

    def stack_exists(self, status, reason=""):
        stack = {
            "StackId": STACK_ID,
            "StackName": NAME,
            "StackStatus": status,
            "StackStatusReason": reason,
            "CreationTime": NOW,
            "Tags": [{"Key": "Application", "Value": "image-annotation"}],
            "Outputs": [{"OutputKey": "DatabaseHost", "OutputValue": "db"}],
        }
        self.stubber.add_response("describe_stacks", {"Stacks": [stack]}, {"StackName": ANY})

    def stack_does_not_exist(self):
        self.stubber.add_client_error(
            "describe_stacks", "ValidationError", f"Stack with id {NAME} does not exist", 400
        )

    def returns_events(self, *events):
        """Add a response with events (logical id, status, reason), oldest first."""
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

    def accepts(self, operation, answer=None, **expected):
        self.stubber.add_response(operation, answer or {}, expected or None)

    def rejects(self, operation, code, message):
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


def test_a_missing_stack_is_created_and_its_events_are_printed(script):
    script.stack_does_not_exist()
    script.accepts(
        "create_stack", {"StackId": STACK_ID}, **DESIRED.request(), ClientRequestToken=ANY
    )
    script.stack_exists("CREATE_IN_PROGRESS")
    script.returns_events((NAME, "CREATE_IN_PROGRESS", ""), ("Database", "CREATE_IN_PROGRESS", ""))
    script.stack_exists("CREATE_COMPLETE")
    script.returns_events(("Database", "CREATE_COMPLETE", ""), (NAME, "CREATE_COMPLETE", ""))

    stack = script.stacks.deploy(DESIRED)

    assert stack.outputs == {"DatabaseHost": "db"}
    assert "Database (AWS::RDS::DBInstance) create complete" in script.text
    assert len(script.slept) == 1


def test_a_stack_without_changes_is_not_updated(script):
    script.stack_exists("UPDATE_COMPLETE")
    script.returns_events((NAME, "UPDATE_COMPLETE", ""))
    script.rejects("update_stack", "ValidationError", "No updates are to be performed.")

    stack = script.stacks.deploy(DESIRED)

    assert stack.outputs == {"DatabaseHost": "db"}
    assert "no changes" in script.text


def test_a_changed_stack_is_updated_and_only_new_events_are_printed(script):
    script.stack_exists("CREATE_COMPLETE")
    script.returns_events((NAME, "CREATE_COMPLETE", ""))
    script.accepts(
        "update_stack", {"StackId": STACK_ID}, **DESIRED.request(), ClientRequestToken=ANY
    )
    script.stack_exists("UPDATE_COMPLETE")
    script.returns_events(
        (NAME, "CREATE_COMPLETE", ""),
        (NAME, "UPDATE_IN_PROGRESS", "User Initiated"),
        (NAME, "UPDATE_COMPLETE", ""),
    )

    script.stacks.deploy(DESIRED)

    assert "create complete" not in script.text
    assert "the stack update complete" in script.text


@pytest.mark.parametrize(
    "status", ["ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS", "ROLLBACK_FAILED", "CREATE_FAILED"]
)
def test_a_stack_that_was_never_completed_is_deleted_and_created_again(script, status):
    script.stack_exists(status)
    script.returns_events((NAME, status, ""))
    script.accepts("delete_stack", StackName=STACK_ID)
    script.stack_exists("DELETE_COMPLETE")
    script.returns_events((NAME, "DELETE_IN_PROGRESS", ""), (NAME, "DELETE_COMPLETE", ""))
    script.accepts("create_stack", {"StackId": STACK_ID})
    script.stack_exists("CREATE_COMPLETE")
    script.returns_events((NAME, "CREATE_IN_PROGRESS", ""), (NAME, "CREATE_COMPLETE", ""))

    script.stacks.deploy(DESIRED)

    assert f"was never completed ({status})" in script.text


def test_an_operation_of_an_interrupted_run_is_awaited_first(script):
    script.stack_exists("CREATE_IN_PROGRESS")
    script.stack_exists("CREATE_IN_PROGRESS")
    script.returns_events((NAME, "CREATE_IN_PROGRESS", ""), ("Database", "CREATE_IN_PROGRESS", ""))
    script.stack_exists("CREATE_COMPLETE")
    script.returns_events((NAME, "CREATE_IN_PROGRESS", ""), (NAME, "CREATE_COMPLETE", ""))
    script.returns_events((NAME, "CREATE_COMPLETE", ""))
    script.rejects("update_stack", "ValidationError", "No updates are to be performed.")

    script.stacks.deploy(DESIRED)

    assert "waiting for another operation (CREATE_IN_PROGRESS)" in script.text


def test_the_error_begins_with_the_first_cause_and_not_its_consequences(script):
    script.stack_does_not_exist()
    script.accepts("create_stack", {"StackId": STACK_ID})
    script.stack_exists("ROLLBACK_COMPLETE")
    events = (
        (NAME, "CREATE_IN_PROGRESS", "User Initiated"),
        ("Parameters", "CREATE_FAILED", "Resource creation cancelled"),
        ("Database", "CREATE_FAILED", "The maximum number of addresses has been reached."),
        (NAME, "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [Database]."),
        (NAME, "ROLLBACK_COMPLETE", ""),
    )
    script.returns_events(*events)
    script.returns_events(*events)

    with pytest.raises(StackFailedError) as failed:
        script.stacks.deploy(DESIRED)

    first, advice, after = str(failed.value).splitlines()
    assert first == (
        "02-application-stack failed at Database (AWS::RDS::DBInstance): "
        "The maximum number of addresses has been reached."
    )
    assert "Elastic IP" in advice
    assert "The next `up` creates it again" in after


def test_a_rolled_back_update_reports_that_the_stack_is_in_its_previous_state(script):
    script.stack_exists("CREATE_COMPLETE")
    script.returns_events((NAME, "CREATE_COMPLETE", ""))
    script.accepts("update_stack", {"StackId": STACK_ID})
    script.stack_exists("UPDATE_ROLLBACK_COMPLETE")
    events = (
        (NAME, "UPDATE_IN_PROGRESS", "User Initiated"),
        ("Web", "UPDATE_FAILED", "Received 0 SUCCESS signal(s) out of 1."),
        (NAME, "UPDATE_ROLLBACK_COMPLETE", ""),
    )
    script.returns_events(*events)
    script.returns_events(*events)

    with pytest.raises(StackFailedError, match="logs web") as failed:
        script.stacks.deploy(DESIRED)

    assert "is back in its previous state" in str(failed.value)


def test_a_failed_deletion_names_the_resource(script):
    script.stack_exists("CREATE_COMPLETE")
    script.returns_events((NAME, "CREATE_COMPLETE", ""))
    script.accepts("delete_stack")
    script.stack_exists("DELETE_FAILED")
    events = (
        (NAME, "DELETE_IN_PROGRESS", "User Initiated"),
        ("Bucket", "DELETE_FAILED", "The bucket you tried to delete is not empty"),
        (NAME, "DELETE_FAILED", "The following resource(s) failed to delete: [Bucket]."),
    )
    script.returns_events(*events)
    script.returns_events(*events)

    with pytest.raises(StackFailedError, match="failed at Bucket") as failed:
        script.stacks.delete(NAME, "02-application-stack")

    assert "--delete-data" in str(failed.value)


def test_deleting_a_missing_stack_succeeds(script):
    script.stack_does_not_exist()

    script.stacks.delete(NAME, "02-application-stack")

    assert "does not exist" in script.text


def test_a_preview_deletes_its_change_set(script):
    script.accepts("create_change_set", {"Id": "change-set"})
    script.accepts(
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
    script.accepts("delete_change_set", ChangeSetName="change-set")

    [change] = script.stacks.preview(DESIRED)

    assert (change.logical_id, change.replacement) == ("Database", "True")
    assert change.causes == ("Engine",)


def test_a_preview_without_changes_is_empty(script):
    script.accepts("create_change_set", {"Id": "change-set"})
    reason = "The submitted information didn't contain changes."
    script.accepts("describe_change_set", {"Status": "FAILED", "StatusReason": reason})
    script.accepts("delete_change_set")

    assert script.stacks.preview(DESIRED) == []
