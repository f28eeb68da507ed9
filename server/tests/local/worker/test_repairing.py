"""What values might have been meant to be."""

import pytest

from lume_local._shared.protocol import Repair
from lume_local._worker.cleaners.library import repaired

CASES = [
    ("closest", "Germny", "Germany"),
    ("closest", "  france", "France"),
    ("spaces", " a  b ", "a b"),
    ("lower", "Ab", "ab"),
    ("upper", "ab", "AB"),
    ("capital", "aB", "Ab"),
    ("country", "Deutschland", "DE"),
    ("email", " Ann@B.org", "ann@b.org"),
    ("swapped", "03/25/2024", "25/03/2024"),
    ("swapped", "2024-25-03", "2024-03-25"),
    ("day_first", "5.4.2024", "2024-04-05"),
    ("month_first", "5/4/2024", "2024-05-04"),
    ("yes_or_no", "YES", "true"),
    ("missing", "n/a", ""),
]


@pytest.mark.parametrize(("repair", "value", "meant"), CASES)
def test_a_repair(repair: str, value: str, meant: str) -> None:
    made = repaired(Repair([value, "x"], ["Germany", "France"])).values
    assert made[repair][0] == meant
    assert made[repair][1] != "x", "what stays as it is is no repair"


def test_amounts() -> None:
    made = repaired(Repair(["1.234,50 €", "1,234.50"])).values
    assert [float(one) if one else None for one in made["comma"]] == [1234.5, None]
    assert [float(one) if one else None for one in made["point"]] == [None, 1234.5]


def test_what_two_choices_are_equally_near_is_left_alone() -> None:
    assert "closest" not in repaired(Repair(["Frant"], ["Frank", "Frans"])).values
    assert "closest" not in repaired(Repair(["Italy"], ["Germany", "France"])).values
