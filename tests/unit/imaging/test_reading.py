"""Reading of pieces of a file within a budget."""

import io

import pytest

from imaging.containers.reading import Budget, BudgetSpentError, HeaderReader
from imaging.errors import InvalidImageError

MEGABYTE = 1024 * 1024
UPLOAD_BYTES = 20 * MEGABYTE


class CountingSource(io.BytesIO):
    """File that counts its reads."""

    reads = 0

    def read(self, size=-1):
        self.reads += 1
        return super().read(size)


def test_a_budget_can_be_spent_to_its_last_unit():
    budget = Budget(0)

    budget.spend(24_000)

    with pytest.raises(BudgetSpentError):
        budget.spend(1)


def test_the_budget_grows_with_the_size_of_the_file():
    small, large = Budget(0), Budget(UPLOAD_BYTES)

    large.spend(UPLOAD_BYTES // 40)

    with pytest.raises(BudgetSpentError):
        small.spend(UPLOAD_BYTES // 40)


def test_a_piece_larger_than_a_megabyte_is_refused():
    reader = HeaderReader(io.BytesIO(bytes(3 * MEGABYTE)))

    assert len(reader.read(MEGABYTE, MEGABYTE)) == MEGABYTE
    with pytest.raises(InvalidImageError):
        reader.read(0, MEGABYTE + 1)


@pytest.mark.parametrize("position", [90, 100, 2**70])
def test_a_piece_beyond_the_end_of_the_file_is_refused(position):
    reader = HeaderReader(io.BytesIO(bytes(100)))

    with pytest.raises(InvalidImageError):
        reader.read(position, 11)
    assert reader.read(89, 11) == bytes(11)


def test_the_first_bytes_of_a_file_are_read_from_the_file():
    assert HeaderReader(io.BytesIO(b"abcdef")).read(0, 4) == b"abcd"


def test_pieces_of_what_was_loaded_are_not_read_again():
    source = CountingSource(bytes(MEGABYTE))
    reader = HeaderReader(source)
    reader.read(1000, 10)

    # The first read loads 64 KiB.
    for position in (1000, 1000 + 64 * 1024 - 10):
        reader.read(position, 10)
    assert source.reads == 1

    for position in (999, 999 + 64 * 1024 - 9):
        reader.read(position, 10)
    assert source.reads == 3
