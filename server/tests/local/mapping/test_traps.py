"""Names that differ in the one word that counts are never taken for each other."""

import pytest

from server.benchmarks.mapping.__main__ import ours
from server.benchmarks.mapping.traps import Trap, traps

ALL = list(traps())
IDS = [f"{trap.wanted}-{trap.other}" for trap in ALL]
SURE = ("certain", "high")


@pytest.mark.parametrize("trap", ALL, ids=IDS)
def test_the_other_column_is_no_substitute_and_the_own_one_is_found(trap: Trap) -> None:
    """By its own name, and in another spelling."""
    for case in trap.alone():
        for one in ours(case):
            if one.target != "city":
                assert one.grade == "low" or not (trap.excludes or one.grade in SURE), one
    for case in trap.own():
        found = {one.target: one for one in ours(case)}
        assert {name: one.source for name, one in found.items()} == case.truth
        assert all(one.grade in SURE for one in found.values()), found
    for case in trap.respelled():
        assert {one.target: one.source for one in ours(case) if one.grade != "low"} == case.truth


def test_there_are_traps_in_five_languages() -> None:
    assert len(ALL) == len(set(IDS)) >= 120
