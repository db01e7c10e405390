"""Describe an original: caption, alt text and tags, within a budget of tokens."""

import time
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy.orm import Session, sessionmaker

from database import token_budget
from database.annotations import GeneratedAnnotation, Tokens, find_generated, record_tokens
from database.caption_options import find_caption_options
from database.caption_service import record_answer
from database.jobs import Claim
from database.language_check import english_name
from database.models import MAX_CONTEXT_CHARACTERS, CaptionOptions
from database.session import session_scope
from database.token_budget import Reservation
from database.usage import record_usage
from imaging.decoding import load_decoder
from imaging.embedding.description import read_description
from imaging.isolation import run_isolated
from lambda_functions.annotation.captioner import (
    MAX_OUTPUT_TOKENS,
    ROOMY_OUTPUT_TOKENS,
    Captioner,
)
from lambda_functions.annotation.description import Task
from lambda_functions.annotation.model_input import make_model_input
from lambda_functions.annotation.quality import CaptionRejectedError, parse_annotation
from lambda_functions.annotation.refusals import NoResponseError
from lambda_functions.annotation.responses import ModelResponse
from lambda_functions.annotation.turns import record_refusal, take_turn
from lambda_functions.attempt import OutcomeWriter, logger
from lambda_functions.errors import (
    BudgetExhaustedError,
    BusyError,
    ConfigurationError,
    PermanentError,
    QuotaExhaustedError,
    TransientError,
    WorkError,
)
from lambda_functions.object_store import ObjectStore

# A rejected caption is requested a second time only if this much time is left.
MIN_SECOND_REQUEST_SECONDS = 10
# With less time no response could arrive, but the request might be billed.
MIN_REQUEST_SECONDS = 2
# After the last response the tokens are recorded first, then the annotation. The tokens may take
# this long while the database is unavailable.
TOKEN_RECORDING_SECONDS = 4

_NO_TOKENS = Tokens(0, 0)


class _NoRoomError(CaptionRejectedError):
    """Thinking used the output tokens before the caption. The same request would fail again."""


@dataclass(frozen=True)
class Annotator:
    """Generates annotations of originals.

    Attributes:
        daily_token_budget: the tokens that all functions together may spend in a day; 0 for no
            limit.
        requests_per_minute: the requests that all functions together may send in a minute; 0 if
            only the service knows it.
    """

    session_factory: sessionmaker[Session]
    originals: ObjectStore
    captioner: Captioner
    max_image_pixels: int
    daily_token_budget: int
    requests_per_minute: int

    def annotate(self, claim: Claim, *, deadline: float) -> GeneratedAnnotation:
        """Have the model describe an original before the deadline, on the monotonic clock.

        Raises:
            WorkError: there is no annotation. The tokens spent are recorded nevertheless.
        """
        options = self._find_options(claim)
        task = self.captioner.task(options)
        fingerprint = self.captioner.fingerprint(claim.sha256, task)
        annotation = self._find_reusable(claim, fingerprint)
        if annotation is None:
            take_turn(self.session_factory, claim, self.requests_per_minute)
        # The original is read even if an earlier annotation will be reused, because a job may
        # only complete if its original can be read.
        original = self.originals.get(claim.original_key)
        make = partial(make_model_input, original, max_pixels=self.max_image_pixels)
        load_decoder(original)
        model_input = run_isolated(make, seconds=deadline - time.monotonic())
        if annotation is None:
            if options.uses_embedded_text:
                text = read_description(original, max_characters=MAX_CONTEXT_CHARACTERS)
                task = task.with_embedded_text(text)
            annotation = self._generate(claim, task, model_input, deadline)
        return replace(annotation, fingerprint=fingerprint)

    def _find_options(self, claim: Claim) -> CaptionOptions:
        with session_scope(self.session_factory) as session:
            return find_caption_options(session, [claim.image_id])[claim.image_id]

    def _find_reusable(self, claim: Claim, fingerprint: str) -> GeneratedAnnotation | None:
        """Return an earlier annotation of the same bytes, unless a new one was requested."""
        if claim.has_annotation:
            return None
        with session_scope(self.session_factory) as session:
            known = find_generated(session, fingerprint)
            if known is not None:
                record_tokens(session, claim.image_id, _NO_TOKENS)
        if known is not None:
            logger.info("reusing an earlier annotation of the same bytes")
        return known

    def _generate(
        self, claim: Claim, task: Task, jpeg: bytes, deadline: float
    ) -> GeneratedAnnotation:
        """Request an annotation, and a second one if the first is rejected."""
        try:
            return self._request_annotation(claim, task, jpeg, deadline, MAX_OUTPUT_TOKENS)
        except CaptionRejectedError as rejection:
            if time.monotonic() > deadline - MIN_SECOND_REQUEST_SECONDS:
                raise
            logger.warning("requesting a second caption", extra={"reason": str(rejection)})
            with suppress(BusyError):  # A second request is counted, but it does not wait.
                take_turn(self.session_factory, claim, self.requests_per_minute)
            needs_room = isinstance(rejection, _NoRoomError)
            max_output_tokens = ROOMY_OUTPUT_TOKENS if needs_room else MAX_OUTPUT_TOKENS
            try:
                return self._request_annotation(claim, task, jpeg, deadline, max_output_tokens)
            except (BudgetExhaustedError, QuotaExhaustedError, TransientError):
                # The rejection fails the job. A retry would pay for the first response again.
                raise rejection from None

    def _request_annotation(
        self, claim: Claim, task: Task, jpeg: bytes, deadline: float, max_output_tokens: int
    ) -> GeneratedAnnotation:
        response = self._request(claim, task, jpeg, deadline, max_output_tokens)
        if response.refusal is not None:
            raise response.refusal
        if response.block_reason is not None:
            raise PermanentError(
                "The model's safety filter blocked this image. The reason is"
                f" {response.block_reason}. Write a caption yourself.",
                code="blocked_by_safety",
            )
        if response.cutoff_reason is not None:
            kind = _NoRoomError if response.has_thought_too_long else CaptionRejectedError
            raise kind(f"it was cut off ({response.cutoff_reason})")
        parsed = parse_annotation(response.text, task)
        return GeneratedAnnotation(
            parsed.caption,
            parsed.alt_text,
            parsed.tags,
            response.model,
            text_in_image=parsed.text_in_image,
            language=task.language_tag or None,
            translations=parsed.translations,
            site_language=None if task.is_language_chosen else english_name(task.language),
        )

    def _request(
        self, claim: Claim, task: Task, jpeg: bytes, deadline: float, max_output_tokens: int
    ) -> ModelResponse:
        """Send one request within the budget, and record the tokens that it used."""
        timeout_seconds = deadline - time.monotonic()
        if timeout_seconds < MIN_REQUEST_SECONDS:
            raise TransientError(
                "There was no time left for the captioning service. Try it again.",
                code="no_time_left",
            )
        reservation = self._reserve(task, extra_tokens=max_output_tokens - MAX_OUTPUT_TOKENS)
        writer = OutcomeWriter(self.session_factory, claim, deadline + TOKEN_RECORDING_SECONDS)
        settle = partial(_settle, writer, reservation)
        try:
            response = self.captioner.generate(
                jpeg,
                task,
                timeout_seconds=timeout_seconds,
                max_output_tokens=max_output_tokens,
            )
        except NoResponseError:
            raise  # The request may have been billed, so the reservation stays.
        except WorkError as error:
            settle(_NO_TOKENS, model="")  # The service refused the request, which costs nothing.
            if isinstance(error, BusyError):
                writer.write(partial(record_refusal, error=error))
            raise
        # A response without token counts is not free, so the reservation stays.
        if response.tokens != _NO_TOKENS:
            settle(response.tokens, model=response.model)
        return response

    def _reserve(self, task: Task, *, extra_tokens: int) -> Reservation | None:
        """Reserve the most tokens that one request can use, if there is a budget.

        Raises:
            BudgetExhaustedError: fewer tokens are left today.
            ConfigurationError: the daily budget is too small for one request.
        """
        if self.daily_token_budget == 0:
            return None
        max_tokens = self.captioner.max_request_tokens(task)
        if self.daily_token_budget < max_tokens:
            raise ConfigurationError(
                f"The daily token budget for captions is {self.daily_token_budget}, but one "
                f"request may use {max_tokens}. The operator must raise the budget."
            )
        with session_scope(self.session_factory) as session:
            reservation = token_budget.reserve(
                session, max_tokens + extra_tokens, budget=self.daily_token_budget
            )
        if reservation is None:
            raise BudgetExhaustedError(
                "Today's budget for captions is used up. Try it again after midnight UTC."
            )
        return reservation


def _settle(
    writer: OutcomeWriter, reservation: Reservation | None, tokens: Tokens, *, model: str
) -> None:
    """Record the tokens that a request used, and return the rest of its reservation."""
    if reservation is None and tokens == _NO_TOKENS:
        return

    def settle(session: Session) -> None:
        record_tokens(session, writer.claim.image_id, tokens)
        if tokens != _NO_TOKENS:
            record_usage(session, writer.claim.image_id, model, tokens)
            record_answer(session)
        if reservation is not None:
            token_budget.settle(session, reservation, spent=tokens.total)

    writer.write(settle)
