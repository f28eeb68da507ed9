"""Which figures of a run are unusual: the rule, how often it is wrong, and what a server makes of it."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from local.servers import serve

from lume_local._runs.unusual import FAR, LEAST, RUNS, centre, mends_others, unusual

CALM = [(1000, 10 + number % 3) for number in range(RUNS)]
"""About 1 % of about 1,000 rows."""


@pytest.mark.parametrize(
    ("run", "before", "words"),
    [
        ((1000, 11), CALM, None),
        ((1000, 32), CALM, "3.2% of the rows were rejected, usually 1.1% (median of the last 20 runs)"),
        ((1000, 25), CALM, None),  # not two points more
        ((1000, 0), CALM, None),  # better is not unusual
        ((900, 9), CALM, None),
        ((2500, 25), CALM, "2,500 rows were read, usually 1,000"),
        ((400, 4), CALM, "400 rows were read, usually 1,000"),
        ((0, 0), CALM, "0 rows were read, usually 1,000"),
        ((1000, 900), CALM[: LEAST - 1], None),
        ((1000, 900), CALM[:LEAST], "90.0% of the rows were rejected"),
        ((10, 1), [(10, 0)] * RUNS, None),  # the first reject of small files
        ((10, 7), [(10, 0)] * RUNS, "70.0% of the rows"),
        ((0, 0), [(0, 0)] * RUNS, None),
        ((1000, 500), [(1000, 1000 * (number % 2)) for number in range(RUNS)], None),  # it varies as much
    ],
)
def test_what_is_unusual(run: tuple[int, int], before: list[tuple[int, int]], words: str | None) -> None:
    found = unusual(run, before)
    assert bool(found) is (words is not None)
    assert all(one.startswith("warn.unusual: ") and (words or "") in one for one in found)


@given(
    st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), max_size=40), st.integers(0, 10**12)
)
def test_any_figures_are_judged(before: list[tuple[int, int]], read: int) -> None:
    assert len(unusual((read, read), before)) <= 2
    assert unusual((read, 0), [(read, 0)] * RUNS) == []


@pytest.mark.parametrize(("runs", "most"), [(LEAST, 1 / 500), (RUNS, 1 / 1500)])
def test_how_often_the_rule_is_wrong_on_normal_data(runs: int, most: float) -> None:
    """Without its floors, which only make it quieter. The rates in its module: 1 in 700, and 1 in 2,500."""
    rng, wrong, rounds = random.Random(7), 0, 30_000
    for _ in range(rounds):
        middle, deviation = centre([rng.gauss() for _ in range(runs)])
        wrong += abs(rng.gauss() - middle) > FAR * deviation
    assert most / 20 < wrong / rounds < most


def test_which_runs_are_not_compared() -> None:
    assert mends_others({"resubmit_of": "run_1"})
    assert mends_others({"replay": {"flow": "f"}})
    assert not any(map(mends_others, (None, [], {}, {"replay": 1, "resubmit_of": None}, "resubmit_of")))


@pytest.mark.thorough
async def test_a_run_with_unusual_figures_has_a_warning(home: Path) -> None:
    """Over versions: a new one is compared with the ones before. A run without output counts for nothing."""
    flow = (home / "flows/people.v1.toml").read_text()
    (home / "flows/people.v2.toml").write_text(flow.replace('"v1"', '"v2"'))
    rows = (home / "people.csv").read_text().splitlines()
    async with serve(home) as wire:
        for number in range(LEAST):
            (home / f"{number}.csv").write_text("\n".join([*rows, *rows[1:]]))
            run = await wire.run("people:v1", f"{number}.csv")
            assert run["metadata"]["metrics"]["warnings"] == {}
        assert (await wire.run("people:v1", "absent.csv"))["status"] == "FAILED"
        (home / "long.csv").write_text("\n".join([*rows, *rows[1:] * 40]))
        run = await wire.run("people:v2", "long.csv")
        warnings = run["metadata"]["metrics"]["warnings"]
        read, rejected = (run["metadata"]["metrics"][name] for name in ("rows_read", "rows_rejected"))
        assert read == 41 * (len(rows) - 1)
        assert {warning.partition(", usually")[0]: count for warning, count in warnings.items()} == {
            f"warn.unusual: {rejected / read:.1%} of the rows were rejected": 1,  # ids that are there already
            f"warn.unusual: {read} rows were read": 1,
        }
        (home / "mended.csv").write_text("\n".join([*rows, *rows[1:] * 40]))
        for metadata in ({"resubmit_of": run["id"]}, {"mend": {}}):  # the latter from the grid
            run = await wire.run("people:v2", "mended.csv", run_metadata=metadata, force_rerun=True)
            assert run["metadata"]["metrics"]["warnings"] == {}
