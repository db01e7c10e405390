"""Send failed work to the event bus again after its cause was fixed.

Dead letters are in two queues and have two formats. EventBridge stores the event that it could not
deliver, with the rule and the reason as message attributes. Lambda stores a record with the event,
the function and its response.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html

Jobs that failed without a retry left no dead letter. Only the sweep can find them, because they are
in the database; an event lets it request them again.

A message is deleted only after the event bus accepted its event. A duplicate event does no harm:
the function finds that the job is already completed.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployment.console import Console

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageTypeDef

# Outputs of the functions' stack.
QUEUE_OUTPUTS = ("UndeliveredEventsQueueUrl", "FailedInvocationsQueueUrl")

# The same as in database/events.py, which this package must not import. A test compares them.
SOURCE = "image-annotation"
DETAIL_TYPES = {"Annotation": "Annotation Requested", "Thumbnail": "Thumbnail Requested"}
REDRIVE_DETAIL_TYPE = "Redrive Requested"
_JOB_OF_DETAIL_TYPE = {detail_type: job for job, detail_type in DETAIL_TYPES.items()}
# CloudFormation builds the names of rules and functions from their logical ids.
_JOB_IN_ARN = re.compile(r"(Annotation|Thumbnail)(?:Rule|Function)\b")
# Long enough to read all messages. At the end, the remaining messages become visible again.
_VISIBILITY_TIMEOUT_SECONDS = 600
_BATCH_SIZE = 10


class UnreadableMessageError(Exception):
    """A message has neither of the two formats."""


@dataclass(frozen=True)
class DeadLetter:
    """A job that failed, and the reason."""

    job: str  # Annotation | Thumbnail
    bucket: str
    key: str
    reason: str

    @property
    def entry(self) -> dict[str, str]:
        """The event that requests the job again."""
        detail = {"bucket": {"name": self.bucket}, "object": {"key": self.key}, "redrive": True}
        return {
            "Source": SOURCE,
            "DetailType": DETAIL_TYPES[self.job],
            "Detail": json.dumps(detail),
        }


@dataclass
class RedriveResult:
    """Counts of the messages by outcome."""

    sent: int = 0  # In a dry run: could be sent.
    rejected: int = 0  # By the event bus; the message stays in its queue.
    unreadable: int = 0  # The message stays in its queue.

    @property
    def received(self) -> int:
        """The number of messages read from the queues."""
        return self.sent + self.rejected + self.unreadable


def redrive_queues(
    sqs: "SQSClient",
    events: "EventBridgeClient",
    queue_urls: Sequence[str],
    console: Console,
    *,
    limit: int | None = None,
    dry_run: bool = False,
) -> RedriveResult:
    """Send the event of every message again and print the outcome of each.

    At most `limit` messages are read. A dry run only prints the messages.
    """
    result = RedriveResult()
    for url in queue_urls:
        remaining: dict[str, str] = {}  # Receipt handles by message id.
        try:
            while messages := _receive(sqs, url, result, limit):
                remaining |= {found["MessageId"]: found["ReceiptHandle"] for found in messages}
                for message in messages:
                    if _redrive(message, events, url, console, result, dry_run):
                        receipt = remaining.pop(message["MessageId"])
                        sqs.delete_message(QueueUrl=url, ReceiptHandle=receipt)
        finally:
            for receipt in remaining.values():
                sqs.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0
                )
    return result


def redrive_failed_jobs(events: "EventBridgeClient", environment: str) -> bool:
    """Let the sweep of an environment request failed jobs again. Return whether it was accepted."""
    entry = {
        "Source": SOURCE,
        "DetailType": REDRIVE_DETAIL_TYPE,
        "Detail": json.dumps({"environment": environment}),
    }
    answer = events.put_events(Entries=[entry])  # type: ignore[list-item]
    return answer["FailedEntryCount"] == 0


def _receive(
    sqs: "SQSClient", url: str, result: RedriveResult, limit: int | None
) -> "list[MessageTypeDef]":
    """Return the next messages, or none at the end. A received message is hidden for a while."""
    count = _BATCH_SIZE if limit is None else min(_BATCH_SIZE, limit - result.received)
    if count <= 0:
        return []
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=count,
        MessageAttributeNames=["All"],
        VisibilityTimeout=_VISIBILITY_TIMEOUT_SECONDS,
        WaitTimeSeconds=1,  # Long polling queries all SQS servers, short polling only some.
    )
    return answer.get("Messages", [])


def _redrive(
    message: "MessageTypeDef",
    events: "EventBridgeClient",
    url: str,
    console: Console,
    result: RedriveResult,
    dry_run: bool,
) -> bool:
    """Send the event of one message. Return True if the event bus accepted it."""
    queue = url.rpartition("/")[2]
    try:
        letter = read_dead_letter(message)
    except UnreadableMessageError as error:
        result.unreadable += 1
        console.print_step(queue, f"{message['MessageId']} stays in the queue: {error}", "error")
        return False
    text = f"{letter.job.lower()} of {letter.key}: {letter.reason}"
    if dry_run:
        result.sent += 1
        console.print_step(queue, text)
        return False
    answer = events.put_events(Entries=[letter.entry])  # type: ignore[list-item]
    if answer["FailedEntryCount"]:
        result.rejected += 1
        reason = answer["Entries"][0].get("ErrorMessage", "no reason given")
        console.print_step(
            queue, f"{text}. Stays in the queue: the event bus rejected it: {reason}", "error"
        )
        return False
    result.sent += 1
    console.print_step(queue, f"{text}. Sent again", "success")
    return True


def read_dead_letter(message: "MessageTypeDef") -> DeadLetter:
    """Read a message from either queue.

    Raises:
        UnreadableMessageError: the message has neither format.
    """
    try:
        body = json.loads(message["Body"])
    except ValueError as error:
        raise UnreadableMessageError("the body is not JSON") from error
    if not isinstance(body, dict):
        raise UnreadableMessageError("the body is not a JSON object")
    if "requestPayload" in body:
        return _from_lambda(body)
    return _from_event_bridge(body, message.get("MessageAttributes", {}))


def _from_lambda(record: Mapping[str, Any]) -> DeadLetter:
    context = record.get("requestContext") or {}
    response = record.get("responsePayload")
    if not isinstance(response, dict):
        response = {}
    attempts = context.get("approximateInvokeCount")
    return _dead_letter(
        record["requestPayload"],
        context.get("functionArn"),
        context.get("condition"),
        "" if attempts is None else f"after {attempts} attempts",
        response.get("errorType"),
        response.get("errorMessage"),
    )


def _from_event_bridge(event: Mapping[str, Any], attributes: Mapping[str, Any]) -> DeadLetter:
    values = {name: value.get("StringValue") for name, value in attributes.items()}
    return _dead_letter(
        event, values.get("RULE_ARN"), values.get("ERROR_CODE"), values.get("ERROR_MESSAGE")
    )


def _dead_letter(event: Any, arn: Any, *reasons: Any) -> DeadLetter:
    """Build a dead letter from its event. The ARN of the rule or function identifies the job."""
    try:
        bucket, key = event["detail"]["bucket"]["name"], event["detail"]["object"]["key"]
    except (KeyError, TypeError) as error:
        raise UnreadableMessageError("its event has no bucket or key") from error
    found = _JOB_IN_ARN.search(str(arn or ""))
    job = found[1] if found else _JOB_OF_DETAIL_TYPE.get(event.get("detail-type", ""))
    if job is None:
        raise UnreadableMessageError(f"it does not name a function (“{arn or ''}”)")
    reason = " ".join(str(reason) for reason in reasons if reason)
    return DeadLetter(job, str(bucket), str(key), reason or "no reason given")
