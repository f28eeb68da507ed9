"""The histories notice faults: each of `MUTANTS` breaks the invariant that it should."""

from collections import Counter

import pytest

from simulation.mutants import MUTANTS
from simulation.mutation import Mutant, survival


def test_every_mutant_is_one_change_and_stands_once() -> None:
    assert all(mutant.text() for mutant in MUTANTS)
    assert max(Counter((mutant.file, mutant.text()) for mutant in MUTANTS).values()) == 1


@pytest.mark.thorough
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}-{mutant.old.strip()[:40]}")
def test_a_mutant_is_caught(mutant: Mutant) -> None:
    done = survival(mutant)
    assert done.failure, f"survived {done.histories} histories in {done.seconds:.0f} s of CPU: {mutant}"
    assert any(words in done.failure for words in mutant.breaks.split(" | ")), f"{done.failure}\n{mutant}"
