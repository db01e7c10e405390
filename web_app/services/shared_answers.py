"""One answer of the database for all who ask the same thing at the same time."""

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

_Answer = TypeVar("_Answer")


class SharedAnswers(Generic[_Answer]):
    """A question is put by one thread, for all that came while it was put the last time.

    Nobody gets an answer to a question that was put before they came, so none is older than the
    request it goes to. The more ask at once, the less it costs each.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        # As long as anybody is about to ask, asks or waits.
        self._turns: WeakValueDictionary[Hashable, _Turn[_Answer]] = WeakValueDictionary()

    def get(self, key: Hashable, ask: Callable[[], _Answer]) -> _Answer:
        """What `ask` returns or raises, called by this thread or another.

        Args:
            key: the same for the same question.
        """
        with self._lock:
            turn = self._turns.get(key)
            if turn is None:
                turn = self._turns[key] = _Turn()
        return turn.get(ask)


class _Turn(Generic[_Answer]):
    """One question: who puts it now, and who waits for the next time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._asking = Lock()
        self._next: Future[_Answer] | None = None

    def get(self, ask: Callable[[], _Answer]) -> _Answer:
        with self._lock:
            answer, is_first = self._next, self._next is None
            if answer is None:
                answer = self._next = Future()
        if is_first:
            with self._asking:
                with self._lock:
                    self._next = None  # Who comes from now on asks anew.
                try:
                    answer.set_result(ask())
                except BaseException as error:
                    answer.set_exception(error)
        return answer.result()
