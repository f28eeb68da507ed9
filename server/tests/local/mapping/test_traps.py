"""Names that differ in the one word that counts are never taken for each other."""

import pytest

from server.benchmarks.mapping.__main__ import ours
from server.benchmarks.mapping.traps import Trap, traps

ALL = list(traps())
IDS = [f"{trap.wanted}-{trap.other}" for trap in ALL]
SURE = ("certain", "high")


@pytest.mark.parametrize("trap", ALL, ids=IDS)
def test_the_other_column_is_no_substitute(trap: Trap) -> None:
    for case in trap.alone():
        for found in ours(case):
            if found.target != "city":
                assert found.grade == "low" or not (trap.excludes or found.grade in SURE), found


@pytest.mark.parametrize("trap", ALL, ids=IDS)
def test_a_column_of_the_same_name_is_found(trap: Trap) -> None:
    for case in trap.own():
        found = {one.target: one for one in ours(case)}
        assert {name: one.source for name, one in found.items()} == case.truth
        assert all(one.grade in SURE for one in found.values()), found


@pytest.mark.parametrize("trap", ALL, ids=IDS)
def test_each_is_found_in_another_spelling(trap: Trap) -> None:
    for case in trap.respelled():
        found = {one.target: one.source for one in ours(case) if one.grade != "low"}
        assert found == case.truth


def test_there_are_traps_in_five_languages() -> None:
    assert len(ALL) == len(set(IDS)) >= 120
