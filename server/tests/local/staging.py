"""The places where the rows of a run are staged, by its size otherwise."""

import sys

import pytest

from lume_local._worker import stage

PLACES = {"memory": (sys.maxsize, sys.maxsize), "file": (sys.maxsize, 0)}
"""The bytes from which two files are written at once; up to which part of the limit rows are held in memory."""
if sys.maxsize > stage.AT_ONCE:
    PLACES["at once"] = (0, 0)


def stage_in(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    """Stage the rows of any run there."""
    at_once, in_memory = PLACES[place]
    monkeypatch.setattr(stage, "AT_ONCE", at_once)
    monkeypatch.setattr(stage, "PART_IN_MEMORY", in_memory)
