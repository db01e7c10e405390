"""Original in; caption, alt text and tags out, and what they took written down."""

import time
from dataclasses import dataclass, replace
from functools import partial

from sqlalchemy.orm import Session, sessionmaker

from database import token_budget
from database.annotations import (
    GeneratedAnnotation,
    Tokens,
    find_generated,
    record_tokens,
)
from database.jobs import Claim
from database.session import session_scope
from database.token_budget import Reservation
from imaging.isolation import run_isolated
from lambda_functions.annotation.captioner import Answer, Captioner, NoAnswerError
from lambda_functions.annotation.model_input import make_model_input
from lambda_functions.annotation.quality import CaptionRejectedError, Words, read_answer
from lambda_functions.attempt import OutcomeWriter, logger
from lambda_functions.errors import (
    BudgetExhaustedError,
    ConfigurationError,
    PermanentError,
    TransientError,
    WorkError,
)
from lambda_functions.object_store import ObjectStore

# An answer that cannot be kept is asked for once more while this much of the time is left.
SECOND_QUESTION_SECONDS = 10
# With less than this left no answer could come; asking would only be paid for.
FIRST_QUESTION_SECONDS = 2
# How long after the last answer the database may still be asked to write down what it took; what
# it said comes after that.
SETTLING_SECONDS = 4

_NO_TOKENS = Tokens(0, 0)


@dataclass(frozen=True)
class Annotator:
    """Has originals described.

    Attributes:
        daily_token_budget: how many tokens all functions together may spend in a day; 0 for no
            limit.
    """

    session_factory: sessionmaker[Session]
    originals: ObjectStore
    captioner: Captioner
    max_image_pixels: int
    daily_token_budget: int

    def annotate(self, claim: Claim, *, deadline: float) -> GeneratedAnnotation:
        """Have the model describe an original.

        Args:
            claim: the claim on the image's annotation job.
            deadline: the time by which the model must have answered, on the monotonic clock.
        Raises:
            WorkError: there is no annotation. The tokens spent are recorded nevertheless.
        """
        # The original is read even if an earlier annotation will be reused, because a job may
        # only complete if its original can be read.
        make = partial(
            make_model_input,
            self.originals.get(claim.original_key),
            max_pixels=self.max_image_pixels,
        )
        model_input = run_isolated(make, seconds=deadline - time.monotonic())
        fingerprint = self.captioner.fingerprint(claim.sha256)
        annotation = self._find_reusable(claim, fingerprint) or self._generate(
            claim, model_input, deadline
        )
        return replace(annotation, fingerprint=fingerprint)

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

    def _generate(self, claim: Claim, jpeg: bytes, deadline: float) -> GeneratedAnnotation:
        try:
            return self._ask_for_words(claim, jpeg, deadline)
        except CaptionRejectedError as rejection:
            if time.monotonic() > deadline - SECOND_QUESTION_SECONDS:
                raise
            logger.warning("asking once more", extra={"reason": str(rejection)})
            try:
                return self._ask_for_words(claim, jpeg, deadline)
            except (BudgetExhaustedError, TransientError):
                # To try it again later would have the first answer paid again each time.
                raise rejection from None

    def _ask_for_words(self, claim: Claim, jpeg: bytes, deadline: float) -> GeneratedAnnotation:
        answer = self._ask(claim, jpeg, deadline)
        words = self._words_of(answer)
        return GeneratedAnnotation(words.caption, words.alt_text, words.tags, answer.model)

    def _words_of(self, answer: Answer) -> Words:
        if answer.blocked_for is not None:
            raise PermanentError(
                "The model's safety filter refused this image. It objected to"
                f" {answer.blocked_for}.",
                code="blocked_by_safety",
            )
        if answer.stopped_by is not None:
            raise CaptionRejectedError(f"it was cut off ({answer.stopped_by})")
        return read_answer(
            answer.text, prompt=self.captioner.prompt, language=self.captioner.language
        )

    def _ask(self, claim: Claim, jpeg: bytes, deadline: float) -> Answer:
        """Ask the model, within the budget, and write down what that took."""
        timeout_seconds = deadline - time.monotonic()
        if timeout_seconds < FIRST_QUESTION_SECONDS:
            raise TransientError("There was no time left to ask the model.", code="no_time_left")
        reservation = self._reserve()
        writer = OutcomeWriter(self.session_factory, claim, deadline + SETTLING_SECONDS)
        settle = partial(_settle, writer, reservation)
        try:
            answer = self.captioner.ask(jpeg, timeout_seconds=timeout_seconds)
        except NoAnswerError:
            raise  # It may have been billed: what was set aside stays so.
        except WorkError:
            settle(_NO_TOKENS)  # The service refused; that costs nothing.
            raise
        # An answer that does not say what it took was not free: what was set aside stays so.
        if answer.tokens != _NO_TOKENS:
            settle(answer.tokens)
        return answer

    def _reserve(self) -> Reservation | None:
        """Set aside what one question can take at most, if there is a budget.

        Raises:
            BudgetExhaustedError: so much is not left.
            ConfigurationError: the budget is too small for any question.
        """
        if self.daily_token_budget == 0:
            return None
        most_tokens = self.captioner.most_tokens
        if self.daily_token_budget < most_tokens:
            raise ConfigurationError(
                f"The daily budget for captions, {self.daily_token_budget} tokens, is less than "
                f"one of them may take: {most_tokens}."
            )
        with session_scope(self.session_factory) as session:
            reservation = token_budget.reserve(session, most_tokens, budget=self.daily_token_budget)
        if reservation is None:
            raise BudgetExhaustedError(
                "Today's budget for captions is used up. Try it again after midnight UTC."
            )
        return reservation


def _settle(writer: OutcomeWriter, reservation: Reservation | None, tokens: Tokens) -> None:
    if reservation is None and tokens == _NO_TOKENS:
        return

    def settle(session: Session) -> None:
        record_tokens(session, writer.claim.image_id, tokens)
        if reservation is not None:
            token_budget.settle(session, reservation, spent=tokens.total)

    writer.write(settle)
