"""Which expression is used, by what the rows decide."""

import pytest

from lume_local._mapping.expressions import TriedWay, Way, chosen, decide, kept, own_ways, ways
from lume_local._mapping.profile import profile_column
from lume_local._mapping.target import TargetColumn
from lume_local._samples.infer import SampleColumn

OPEN, DMY, MDY = (
    Way("parse({column})", "date"),
    Way("parse({column}, 'dmy')", "date", "the day first"),
    Way("parse({column}, 'mdy')", "date", "the month first"),
)
PLAIN = Way("{column}")


def decided(plain: int, open_: int, dmy: int, mdy: int, filled: int = 1000) -> tuple[Way, int, bool]:
    tried = [
        TriedWay(PLAIN, plain),
        TriedWay(OPEN, open_),
        TriedWay(DMY, dmy),
        TriedWay(MDY, mdy),
    ]
    found = decide(tried, filled)
    return found.way, found.misfits, bool(found.doubts)


@pytest.mark.parametrize(
    ("misfits", "expected"),
    [
        ((0, 0, 0, 0), (PLAIN, 0, False)),  # nothing has to be done
        ((900, 0, 0, 0), (OPEN, 0, False)),  # all values have one meaning
        ((900, 300, 200, 0), (MDY, 0, False)),  # 200 rows have a day above 12
        ((900, 300, 3, 200), (DMY, 3, False)),  # three mistakes don't change that
        ((900, 300, 0, 0), (OPEN, 300, True)),  # day and month are at most 12 in all rows
        ((900, 400, 100, 200), (OPEN, 400, True)),  # two orders in one column
        ((900, 0, 100, 200), (OPEN, 0, True)),  # the same, and each row by itself has one
        ((900, 300, 300, 300), (OPEN, 300, False)),  # what can't be read is no date
        ((1000, 1000, 1000, 1000), (PLAIN, 1000, False)),  # no dates at all
    ],
)
def test_the_order_of_dates_is_decided_by_all_rows_or_left_open(
    misfits: tuple[int, int, int, int], expected: tuple[Way, int, bool]
) -> None:
    assert decided(*misfits) == expected


def test_what_is_left_open_is_said_with_both_choices() -> None:
    (doubt,) = decide(
        [
            TriedWay(PLAIN, 9),
            TriedWay(OPEN, 5),
            TriedWay(DMY, 0),
            TriedWay(MDY, 0),
        ],
        10,
    ).doubts
    assert (
        doubt
        == "no value decides between the day first and the month first: 5 rows are rejected until you do"
    )


DATE = "parse_date_any({column})"


@pytest.mark.parametrize(
    ("own", "misfits", "readings", "is_doubtful"),
    [
        (DATE, {"": 5, "dmy": 0, "mdy": 0}, 2, True),  # what it rejects, others might read
        (DATE, {"": 0, "dmy": 0, "mdy": 0}, 0, False),
        (
            "parse_date_any({column}, 'dmy')",
            {"": 5, "dmy": 0, "mdy": 0},
            2,
            True,
        ),  # decided, but not by this sample
        ("parse_date_any({column}, 'dmy')", {"": 5, "dmy": 0, "mdy": 3}, 2, False),
        ("parse_date_any(trim({column}), 'dmy')", {"": 5, "dmy": 4, "mdy": 0}, 2, True),
        ("parse_date_any({column}, 'dmy')", {"": 5, "dmy": 4, "mdy": 0}, 2, True),
        ("lower({column})", {"": 5}, 0, False),
    ],
)
def test_the_expression_of_a_flow_stays_until_a_person_decides_otherwise(
    own: str, misfits: dict[str, int], readings: int, is_doubtful: bool
) -> None:
    several = own_ways(own)
    assert several[0].sql == own
    tried = [TriedWay(way, misfits[way.key]) for way in several]
    found = kept(tried, several[0])
    assert found.way.sql == own
    assert (len(found.readings), bool(found.doubts)) == (readings, is_doubtful)
    assert chosen(tried, "none") is None
    for reading in found.readings:
        decided = chosen(tried, reading.key)
        assert decided is not None
        assert (decided.way.key, decided.misfits, decided.doubts) == (reading.key, misfits[reading.key], [])


@pytest.mark.parametrize(
    ("definition", "values", "expected"),
    [
        ({"type": "string"}, ["a", "b"], {"{column}"}),
        ({"type": "string"}, ["a ", " b"], {"nullif(trim({column}), '')"}),
        ({"type": "string", "format": "email"}, ["a@b.c"], {"{column}", "parse_email({column})"}),
        ({"type": "boolean"}, ["ja", "nein"], {"{column}", "parse_bool({column})"}),
        (
            {"type": "string", "format": "date"},
            ["1.2.2024"],
            {
                *("{column}", "parse_date_any({column})"),
                *("parse_date_any({column}, 'dmy')", "parse_date_any({column}, 'mdy')"),
            },
        ),
        (
            {"type": "number"},
            ["1,5"],
            {
                *("{column}", "parse_money({column})"),
                *("parse_money({column}, '.')", "parse_money({column}, ',')"),
            },
        ),
        ({"type": "string", "format": "uuid"}, ["x"], {"{column}"}),
    ],
)
def test_what_is_tried(definition: dict[str, str], values: list[str], expected: set[str]) -> None:
    source = profile_column(SampleColumn("x", values), values)
    assert {way.sql for way in ways(TargetColumn("x", definition), source)} == expected


def test_countries_are_codes_where_the_name_asks_for_them() -> None:
    values = ["Germany", "France", "Italia"]
    source = profile_column(SampleColumn("Land", values), values)
    wanted = [way.sql for way in ways(TargetColumn("country_code", {"type": "string"}), source)]
    assert "country_code({column})" in wanted
    assert [way.sql for way in ways(TargetColumn("title", {"type": "string"}), source)] == ["{column}"]
