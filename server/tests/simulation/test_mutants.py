"""The invariants notice a server with one wrong line."""

import pytest

from .mutants import LIMIT, MUTANTS, searched


@pytest.mark.thorough
@pytest.mark.timeout(1300)
@pytest.mark.parametrize("number", range(len(MUTANTS)))
def test_a_mutant_is_caught(number: int) -> None:
    invariant, seconds = searched(number)
    assert invariant in MUTANTS[number].breaks
    assert seconds <= LIMIT
