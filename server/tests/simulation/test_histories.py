"""Random histories of servers; see `histories`, and `invariants` for what must hold at their end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from depth import TIMES

from .histories import KINDS, carried_out, drawn
from .world import Violation

NUMBER = {"one": 48 * TIMES, "several": 24 * TIMES}
MENDED = [("one", 411)]
"""Seeds by which faults of the server were found."""
AT_ONCE = 24
"""Histories of one test."""


def check(kind: str, seed: int) -> None:
    try:
        carried_out(drawn(kind, seed))
    except Violation as violation:
        pytest.fail(f"{violation}\nTo repeat it: python server/tests/simulation {kind} {seed}")


@pytest.mark.parametrize(
    ("kind", "first"), [(kind, first) for kind in KINDS for first in range(0, NUMBER[kind], AT_ONCE)]
)
def test_invariants_hold_at_the_end(kind: str, first: int) -> None:
    for seed in range(first, first + AT_ONCE):
        check(kind, seed)


@pytest.mark.parametrize(("kind", "seed"), MENDED)
def test_mended_faults(kind: str, seed: int) -> None:
    check(kind, seed)


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_is_one_history(kind: str) -> None:
    for seed in range(10_000, 10_003):
        assert carried_out(drawn(kind, seed)).digest == carried_out(drawn(kind, seed)).digest


@pytest.mark.thorough
@pytest.mark.parametrize("kind", KINDS)
def test_in_each_process(kind: str) -> None:
    program = [sys.executable, str(Path(__file__).parent), kind, "10000"]
    said = {
        subprocess.check_output(program, env={**os.environ, "PYTHONHASHSEED": number})
        for number in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().startswith(b"nothing is wrong: ")
