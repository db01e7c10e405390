"""Puts work that was given up on back on the bus, once what was wrong is mended.

Two queues hold it, in two shapes: EventBridge keeps the event it could not deliver, with the rule
and its reason as attributes; Lambda keeps an envelope with the event, the function and its answer.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-rule-dlq.html
https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-retain-records.html

A message is deleted only after the bus took its event. An event too many does no harm: the function
finds the work done.
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

# Of the functions' stack.
QUEUE_OUTPUTS = ("UndeliveredEventsQueueUrl", "FailedInvocationsQueueUrl")

_SOURCE = "image-annotation"
_DETAIL_TYPES = {"Annotation": "Annotation Requested", "Thumbnail": "Thumbnail Requested"}
# The logical ids of the rules and functions are in the names CloudFormation makes of them.
_HALF = re.compile(r"(Annotation|Thumbnail)(?:Rule|Function)\b")
_HALF_OF_DETAIL_TYPE = {detail_type: job for job, detail_type in _DETAIL_TYPES.items()}
# Long enough to look at all there is; what stays is shown again at once at the end.
_HIDDEN_SECONDS = 600
_BATCH = 10


class UnreadableMessageError(Exception):
    """A message is none of those two shapes; the reason says in what."""


@dataclass(frozen=True)
class DeadLetter:
    """Work that was given up on."""

    job: str  # Annotation | Thumbnail
    bucket: str
    key: str
    reason: str

    @property
    def entry(self) -> dict[str, str]:
        """The event that asks for it again."""
        detail = {"bucket": {"name": self.bucket}, "object": {"key": self.key}, "redrive": True}
        return {
            "Source": _SOURCE,
            "DetailType": _DETAIL_TYPES[self.job],
            "Detail": json.dumps(detail),
        }


@dataclass
class Redriven:
    """What became of the messages that were looked at."""

    put: int = 0  # In a dry run: would be put.
    refused: int = 0  # By the bus; they stay.
    unreadable: int = 0  # They stay.

    @property
    def looked_at(self) -> int:
        """All of them."""
        return self.put + self.refused + self.unreadable


def redrive(
    sqs: "SQSClient",
    events: "EventBridgeClient",
    queue_urls: Sequence[str],
    console: Console,
    *,
    limit: int | None = None,
    dry_run: bool = False,
) -> Redriven:
    """Ask again for everything the queues hold.

    Args:
        sqs: where the queues are.
        events: whose default bus is asked.
        queue_urls: the dead letters.
        console: hears of each message.
        limit: how many messages to look at; None: all.
        dry_run: only look.
    """
    redriven = Redriven()
    for url in queue_urls:
        staying: dict[str, str] = {}  # Receipts by message id.
        try:
            while messages := _receive(sqs, url, redriven, limit):
                staying |= {found["MessageId"]: found["ReceiptHandle"] for found in messages}
                for message in messages:
                    if _redrive(message, events, url, console, redriven, dry_run):
                        receipt = staying.pop(message["MessageId"])
                        sqs.delete_message(QueueUrl=url, ReceiptHandle=receipt)
        finally:
            for receipt in staying.values():
                sqs.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=receipt, VisibilityTimeout=0
                )
    return redriven


def _receive(
    sqs: "SQSClient", url: str, redriven: Redriven, limit: int | None
) -> "list[MessageTypeDef]":
    """Some messages; none when that were all. Each comes once: what was given is hidden."""
    wanted = _BATCH if limit is None else min(_BATCH, limit - redriven.looked_at)
    if wanted <= 0:
        return []
    answer = sqs.receive_message(
        QueueUrl=url,
        MaxNumberOfMessages=wanted,
        MessageAttributeNames=["All"],
        VisibilityTimeout=_HIDDEN_SECONDS,
        WaitTimeSeconds=1,  # Asks all of SQS's servers, where a short question asks some.
    )
    return answer.get("Messages", [])


def _redrive(
    message: "MessageTypeDef",
    events: "EventBridgeClient",
    url: str,
    console: Console,
    redriven: Redriven,
    dry_run: bool,
) -> bool:
    """Ask again for what one message holds. Returns whether the bus took it."""
    queue = url.rpartition("/")[2]
    try:
        letter = read_dead_letter(message)
    except UnreadableMessageError as error:
        redriven.unreadable += 1
        console.step(queue, f"{message['MessageId']} stays: {error}", "bad")
        return False
    what = f"{letter.job.lower()} of {letter.key}: {letter.reason}"
    if dry_run:
        redriven.put += 1
        console.step(queue, what)
        return False
    answer = events.put_events(Entries=[letter.entry])  # type: ignore[list-item]
    if answer["FailedEntryCount"]:
        redriven.refused += 1
        why = answer["Entries"][0].get("ErrorMessage", "no reason given")
        console.step(queue, f"{what}; stays, the bus refused it: {why}", "bad")
        return False
    redriven.put += 1
    console.step(queue, f"{what}; asked for again", "good")
    return True


def read_dead_letter(message: "MessageTypeDef") -> DeadLetter:
    """Read a message of either queue.

    Raises:
        UnreadableMessageError: it is of neither shape.
    """
    try:
        body = json.loads(message["Body"])
    except ValueError as error:
        raise UnreadableMessageError("it is not JSON") from error
    if not isinstance(body, dict):
        raise UnreadableMessageError("it is no JSON object")
    if "requestPayload" in body:
        return _of_lambda(body)
    return _of_event_bridge(body, message.get("MessageAttributes", {}))


def _of_lambda(envelope: Mapping[str, Any]) -> DeadLetter:
    context = envelope.get("requestContext") or {}
    answer = envelope.get("responsePayload") or {}
    words = [
        str(context.get("condition", "")),
        f"after {context['approximateInvokeCount']} attempts"
        if "approximateInvokeCount" in context
        else "",
        str(answer.get("errorType", "")) if isinstance(answer, dict) else "",
        str(answer.get("errorMessage", "")) if isinstance(answer, dict) else "",
    ]
    return _letter(
        envelope["requestPayload"],
        str(context.get("functionArn", "")),
        " ".join(filter(None, words)),
    )


def _of_event_bridge(event: Mapping[str, Any], attributes: Mapping[str, Any]) -> DeadLetter:
    told = {name: value.get("StringValue", "") for name, value in attributes.items()}
    words = [told.get("ERROR_CODE", ""), told.get("ERROR_MESSAGE", "")]
    return _letter(event, told.get("RULE_ARN", ""), " ".join(filter(None, words)))


def _letter(event: Any, arn: str, reason: str) -> DeadLetter:
    """
    Args:
        event: what a function was, or should have been, invoked with.
        arn: of the function or the rule; it tells which half of the image is meant.
        reason: why it was given up.
    """
    try:
        bucket, key = event["detail"]["bucket"]["name"], event["detail"]["object"]["key"]
    except (KeyError, TypeError) as error:
        raise UnreadableMessageError("its event names no original") from error
    found = _HALF.search(arn)
    job = found[1] if found else _HALF_OF_DETAIL_TYPE.get(event.get("detail-type", ""))
    if job is None:
        raise UnreadableMessageError(f"it does not say which function it was for (“{arn}”)")
    return DeadLetter(job, str(bucket), str(key), reason or "no reason given")
