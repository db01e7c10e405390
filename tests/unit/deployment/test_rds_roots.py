import pytest

from deployment.errors import UsageError
from deployment.rds_roots import ROOTS, check_region, select_roots


@pytest.mark.parametrize("region", ["eu-west-1", "eu-central-1", "us-east-1", "us-west-2"])
def test_a_region_with_a_root_is_accepted(region):
    check_region(region)


def test_a_region_without_a_root_is_refused_before_anything_is_created():
    with pytest.raises(UsageError, match=r"rds_roots.pem has no certificate .* in eu-future-1"):
        check_region("eu-future-1")


def test_the_file_is_what_the_program_writes():
    assert select_roots(ROOTS.read_bytes()) == ROOTS.read_text()
