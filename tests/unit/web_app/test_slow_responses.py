"""The time that a client may take to read a response."""

import gevent
import pytest

from web_app.middleware import slow_clients

pytestmark = pytest.mark.slow


class Application:
    """A WSGI application that is slower than the time limit of a short response."""

    def __init__(self, piece_bytes, compute_seconds=0):
        self.wsgi_app = self.respond
        self.piece_bytes = piece_bytes
        self.compute_seconds = compute_seconds
        self.is_closed = False
        slow_clients.limit_slow_clients(self)

    def before_request(self, function):
        """Register nothing: the test has no requests of Flask."""

    teardown_request = before_request

    def respond(self, environ, start_response):
        """Return two pieces and remember that the response was closed."""
        return self

    def __iter__(self):
        for byte in (b"x", b"y"):
            gevent.sleep(self.compute_seconds)
            yield byte * self.piece_bytes

    def close(self):
        self.is_closed = True


@pytest.fixture
def read_slowly(mocker):
    """Return a function that reads a response with a pause longer than RESPONSE_SECONDS."""
    mocker.patch.object(slow_clients, "RESPONSE_SECONDS", 4)
    gevent.sleep(0)  # gevent's clock stands still between tests, and a timer would end too early.

    def read_slowly(application, pause_seconds=5):
        response = application.wsgi_app({"wsgi.input": None}, None)
        received = []
        try:
            for piece in response:
                received.append(piece)
                if len(received) == 2:
                    gevent.sleep(pause_seconds)
        finally:
            response.close()
        return received

    return read_slowly


def test_a_long_response_that_is_read_fast_enough_is_not_cut_off(read_slowly):
    application = Application(piece_bytes=100 * slow_clients.MIN_BYTES_PER_SECOND)

    assert len(read_slowly(application)) == 2
    assert application.is_closed


def test_a_response_that_is_read_too_slowly_is_cut_off(read_slowly):
    application = Application(piece_bytes=1)

    with pytest.raises(BrokenPipeError):
        read_slowly(application)
    assert application.is_closed


def test_the_time_to_compute_a_response_does_not_count(read_slowly):
    application = Application(piece_bytes=1, compute_seconds=3)

    assert len(read_slowly(application, pause_seconds=0)) == 2


def test_no_time_limit_outlives_a_response_that_nobody_closed(mocker):
    mocker.patch.object(slow_clients, "RESPONSE_SECONDS", 0.1)
    response = Application(piece_bytes=1).wsgi_app({"wsgi.input": None}, None)
    next(iter(response))

    del response

    gevent.sleep(0.2)  # Would raise.
