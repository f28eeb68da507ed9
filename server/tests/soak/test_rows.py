"""Many rows and many files, each beside what plain Python says of it: `./scripts/soak rows`.

SOAK_SEED chooses other files (0 by default), SOAK_ROWS how many rows of each format (a million by default).
"""

import json
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest
from components import component
from local.one_run import execute
from local.oracles.compare import check, check_files
from local.oracles.plain_csv import Dialect
from local.oracles.pollution import polluted_case, polluted_files
from local.oracles.random_files import csv_case, ndjson_case
from local.oracles.random_tables import compressed_case, excel_case, json_case, many_case, parquet_case

from lume_local._worker.engine import RunFailed

SEED = int(os.environ.get("SOAK_SEED", "0"))
ROWS = int(os.environ.get("SOAK_ROWS", "1000000"))
FILES = 40
pytestmark = pytest.mark.timeout(3600)


@pytest.mark.parametrize("number", range(FILES))
@pytest.mark.parametrize("make", [csv_case, ndjson_case, compressed_case, json_case])
def test_a_million_rows(tmp_path: Path, make: Any, number: int) -> None:
    check(tmp_path, make(random.Random(SEED * 1000 + number), ROWS // FILES))


@pytest.mark.parametrize("number", range(FILES))
def test_a_million_rows_of_parquet(tmp_path: Path, number: int) -> None:
    check(tmp_path / "run", parquet_case(random.Random(SEED * 1000 + number), ROWS // FILES, tmp_path))


@pytest.mark.parametrize("number", range(FILES))
def test_a_million_rows_in_several_files_each(tmp_path: Path, number: int) -> None:
    files, case = many_case(random.Random(SEED * 1000 + number), ROWS // FILES)
    check_files(tmp_path, files, case)


@pytest.mark.parametrize("number", range(FILES))
def test_workbooks(tmp_path: Path, number: int) -> None:
    """A tenth of the rows: Python alone takes minutes for a million."""
    check(tmp_path, excel_case(random.Random(SEED * 1000 + number), ROWS // FILES // 10))


@pytest.mark.parametrize("number", range(40))
def test_polluted_files(tmp_path: Path, number: int) -> None:
    files = polluted_files(random.Random(SEED * 1000 + number), 3 + 5 * number)
    for part, (name, content, dialect) in enumerate(files):
        try:
            check(tmp_path / str(part), polluted_case(content, dialect))
        except BaseException as error:
            error.add_note(f"{name}, {dialect}: {content!r}")
            raise


@pytest.mark.parametrize("number", range(400))
def test_small_files(tmp_path: Path, number: int) -> None:
    for make in (csv_case, ndjson_case):
        for part in range(5):
            rng = random.Random(f"{SEED} {number} {part}")
            check(tmp_path / f"{make.__name__}{part}", make(rng, rng.randrange(1, 40)))


@pytest.fixture(scope="session")
def spectrum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of csv-spectrum, from npm."""
    npm = component("npm")
    folder = tmp_path_factory.mktemp("spectrum")
    subprocess.run(
        [
            npm,
            "install",
            "--prefix",
            folder,
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "csv-spectrum@2.0.0",
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return folder / "node_modules/csv-spectrum"


def test_csv_spectrum(spectrum: Path, tmp_path: Path) -> None:
    seen = 0
    for file in sorted((spectrum / "csvs").glob("*.csv")):
        expected = json.loads((spectrum / f"json/{file.stem}.json").read_bytes())
        expected = [expected] if isinstance(expected, dict) else expected
        columns: dict[str, Any] = {name: {} for name in expected[0]}
        seen += 1
        if file.stem == "location_coordinates":  # a bare quote in every row: rejected, and not guessed at
            with pytest.raises(
                RunFailed, match=r"the only row was rejected: malformed line: broken quotes \(1\)"
            ):
                execute(tmp_path / file.stem, file.read_bytes(), columns=columns)
            continue
        result = execute(tmp_path / file.stem, file.read_bytes(), columns=columns)
        mapped = [
            {name: value or "" for name, value in zip(columns, row, strict=True)} for row in result.mapped
        ]
        assert mapped == expected, file.stem
    assert seen == 12


def test_the_verdict_can_fail(tmp_path: Path) -> None:
    """A comparison that never differs would prove nothing."""
    case = polluted_case(b"id,when,amount,note\n1,2024-01-01,1.00,x\n", Dialect())
    case.verdict.mapped.clear()
    with pytest.raises(AssertionError):
        check(tmp_path, case)
