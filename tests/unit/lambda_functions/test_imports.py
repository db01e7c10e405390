"""Imports of the functions search for no garbage, and everything after them does."""

import gc

import pytest

from lambda_functions.imports import without_collections


@pytest.mark.parametrize("fault", [None, ImportError("no such module")])
def test_garbage_is_searched_for_again_after_the_imports(fault):
    frozen_before = gc.get_freeze_count()
    try:
        with without_collections():
            assert not gc.isenabled()
            stays = [[] for _ in range(100)]
            if fault:
                raise fault
    except ImportError:
        assert fault

    assert gc.isenabled()
    assert gc.get_freeze_count() >= frozen_before + len(stays)
