"""Processes that load a table with history, and a table of rejects beside it, are killed: each row is there once."""

import random
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import depth
import pytest
from local.loads import killed_loads
from local.loads.table_run import Database

from lume_local._shared.commit import committed

START = datetime(2026, 1, 1)
KEYS, ROWS, BAD = 60, 40, 3
KILLS = depth.KILLS if depth.is_thorough else 8
ROUNDS = 5 if depth.is_thorough else 2
LONGEST = 60.0
"""Seconds for a load that nobody kills."""
Values = dict[int, str | None]


def write(database: Database, dice: random.Random, run_id: str) -> Values:
    """Write the rows of a run to the table that it reads: a few of them are rejects; return the others."""
    database.execute("CREATE TABLE IF NOT EXISTS source (run text, id bigint, name text)")
    rows: Values = {key: dice.choice([None, "", "a", "b"]) for key in dice.sample(range(KEYS), ROWS)}
    bad = {KEYS + number: "NO" for number in range(BAD)}
    values = ", ".join(
        f"('{run_id}', {key}, {'NULL' if name is None else repr(name)})" for key, name in (rows | bad).items()
    )
    database.execute(f"INSERT INTO source VALUES {values}")
    return rows


def rejects(database: Database) -> dict[str, int]:
    return dict(database.execute("SELECT _lume_run_id, count(*) FROM bad GROUP BY 1"))  # type: ignore[arg-type]


def versions(database: Database) -> dict[int, list[tuple[Any, ...]]]:
    """The versions of each key: name, run, valid_from, valid_to, and whether it is current."""
    found: dict[int, list[tuple[Any, ...]]] = {}
    names = (
        'id, name, _lume_run_id, CAST(valid_from AS varchar(40)), CAST(valid_to AS varchar(40)), "current"'
    )
    for key, *row in database.execute(f"SELECT {names} FROM clean ORDER BY id, valid_from"):
        found.setdefault(key, []).append((*row[:-1], bool(row[-1])))
    return found


def check_chains(database: Database) -> None:
    """Of each key the last version is current; each other one ends where the next, another value, begins."""
    for key, chain in versions(database).items():
        assert [one[-1] for one in chain] == [False] * (len(chain) - 1) + [True], (key, chain)
        assert chain[-1][3] is None
        for one, following in pairwise(chain):
            assert one[3] == following[2], (key, chain)
            assert one[0] != following[0], (key, chain)


def finished(folder: Path, dice: random.Random, *, kills: int) -> bool:
    """Finish a run in other processes, the first of which are killed; return whether it was committed."""
    for number in range(kills + 1):
        process = killed_loads.finishing(folder)
        process.join(dice.uniform(0, 0.1) if number < kills else LONGEST)
        process.kill()
        process.join()
    assert process.exitcode == 0
    return committed(folder / "run") is not None


@pytest.mark.timeout(1800)
def test_a_load_is_there_once_or_not_at_all(database: Database, tmp_path: Path) -> None:
    dice = random.Random(KILLS)
    killed, number, current, loaded = 0, 0, Values(), set[str]()
    runs: dict[int, list[str]] = {}
    while killed < KILLS:
        number += 1
        run_id, folder = f"run_{number}", tmp_path / f"run_{number}"
        (folder / "run").mkdir(parents=True)
        rows = write(database, dice, run_id)
        process = killed_loads.begun(folder, run_id, START + timedelta(hours=number))
        reached = dice.choice([lambda run: (run / "begun.json").exists(), committed])
        while process.is_alive() and not reached(folder / "run"):
            process.join(0.002)
        process.join(dice.uniform(0, 0.05))
        killed += process.is_alive()
        process.kill()
        process.join()
        assert process.exitcode in (0, -9)
        if not finished(folder, dice, kills=dice.choice([0, 0, 1, 2])):
            continue
        loaded.add(run_id)
        for key, name in rows.items():
            if key not in current or current[key] != name:
                runs.setdefault(key, []).append(run_id)
        current |= rows
    assert loaded
    assert number > len(loaded), "some were killed before their commit"
    check_chains(database)
    found = versions(database)
    assert {key: chain[-1][0] for key, chain in found.items()} == current
    assert {key: [one[1] for one in chain] for key, chain in found.items()} == runs
    assert rejects(database) == dict.fromkeys(loaded, BAD)


@pytest.mark.timeout(1800)
def test_three_at_once_and_a_stranger(database: Database, tmp_path: Path) -> None:
    """They take turns; one of three is killed."""
    dice = random.Random(ROUNDS)
    loaded, strange = dict[str, Values](), 0
    database.execute("CREATE TABLE strange (n bigint)")
    for turn in range(ROUNDS):
        names = [f"run_{turn}_{number}" for number in range(3)]
        rows = {run_id: write(database, dice, run_id) for run_id in names}
        for run_id in names:
            (tmp_path / run_id / "run").mkdir(parents=True)
        processes = [killed_loads.begun(tmp_path / run_id, run_id, START) for run_id in names]
        victim = dice.choice(processes)
        victim.join(dice.uniform(0.1, 0.6))
        victim.kill()
        while any(process.is_alive() for process in processes):
            database.execute(f"INSERT INTO strange VALUES ({strange})")
            strange += 1
            with suppress(StopIteration):
                next(process for process in processes if process.is_alive()).join(0.05)
        for run_id, process in zip(names, processes, strict=True):
            assert process.exitcode == 0 or process is victim
            if finished(tmp_path / run_id, dice, kills=0):
                loaded[run_id] = rows[run_id]
    assert len(loaded) >= 2 * ROUNDS
    check_chains(database)
    found = versions(database)
    assert {key: {one[0] for one in chain} for key, chain in found.items()} == {
        key: {of_run[key] for of_run in loaded.values() if key in of_run} for key in found
    }
    assert found.keys() == set().union(*loaded.values())
    assert all(one[0] == loaded[one[1]][key] for key, chain in found.items() for one in chain)
    assert rejects(database) == dict.fromkeys(loaded, BAD)
    assert database.execute("SELECT count(*), count(DISTINCT n) FROM strange") == [(strange, strange)]
