"""Values that are looked up in a seed file: each row keeps its place, and what can't be looked up is no surprise."""

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from local.flows import people
from local.one_run import carried_out, compiled, fetch, job_of
from local.servers import serve

from lume_local._flow.definition import read_definition
from lume_local._flow.fields import FlowError
from lume_local._worker import seeds
from lume_local._worker.connection import connect
from lume_local._worker.engine import RunFailed
from lume_local._worker.sources.places.local import LocalFiles

COUNTRIES = 'code,name,"Tax, %",note\nDE,Germany,19,\nFR,"France, la",20,x\n'
SEEDS = {"countries": {"path": "countries.csv", "key": "code"}}
COLUMNS: dict[str, Any] = {
    "id": {"type": "integer"},
    "country": {"sql": "upper(seed('countries', upper(trim(\"C\")), 'name'))"},
    "tax": {"sql": "seed('countries', upper(trim(\"C\")), 'Tax, %')", "type": "integer"},
}


def execute(folder: Path, content: str, seed: str | bytes = COUNTRIES, **changes: Any) -> tuple[Any, Any]:
    (folder / "run").mkdir(parents=True)
    (folder / "in.csv").write_text(content)
    (folder / "countries.csv").write_bytes(seed.encode() if isinstance(seed, str) else seed)
    flow = compiled(**{"columns": COLUMNS, "seeds": SEEDS, **changes})
    with connect() as connection:
        for statement in flow["cleaners"]:
            connection.execute(statement)
        job = job_of(
            flow, folder / "run", [folder / "in.csv"], folder / "mapped.parquet", folder / "rejects.csv"
        )
        job = evolve(job, seeds={"countries": {"path": str(folder / "countries.csv"), "looked_up": ""}})
        record = carried_out(connection, job)
    return record["metrics"], fetch(f"{folder}/mapped.parquet")


def test_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    metrics, mapped = execute(tmp_path, "id,C\n1,de\n2, FR\n3,XX\n4,\n5,DE\n")
    assert mapped == [
        *((1, "GERMANY", 19), (2, "FRANCE, LA", 20), (3, None, None), (4, None, None)),
        (5, "GERMANY", 19),
    ]
    seed = metrics["seeds"]["countries"]
    assert (seed["file"], seed["rows"], len(seed["sha256"])) == (str(tmp_path / "countries.csv"), 2, 64)


def test_a_key_that_can_not_be_worked_out_rejects_its_row(tmp_path: Path) -> None:
    columns = {"id": {"type": "integer"}, "name": {"sql": "seed('countries', error(\"C\"), 'name')"}}
    with pytest.raises(FlowError, match="calls error"):
        execute(tmp_path / "a", "id,C\n1,DE\n", columns=columns)
    columns["name"]["sql"] = (
        "seed('countries', CASE WHEN \"C\" <> '' THEN chr(\"C\"::INT) || 'E' END, 'name')"
    )
    metrics, mapped = execute(tmp_path / "b", "id,C\n1,68\n2,x\n3,\n", columns=columns)
    assert mapped == [(1, "Germany"), (3, None)]
    assert metrics["reject_reasons"] == {"name: is not a valid string": 1}


@pytest.mark.parametrize("size", [3, 130_000])
def test_every_row_keeps_its_place(tmp_path: Path, size: int) -> None:
    rows = 130_000
    content = "id,C\n" + "".join(f"{n},K{n * 7919 % (size + 5)}\n" for n in range(rows))
    seed = "code,name\n" + "".join(f"K{n},v{n}\n" for n in range(size))
    columns = {"id": {"type": "integer"}, "v": {"sql": "seed('countries', \"C\", 'name')"}}
    _, mapped = execute(tmp_path, content, seed, columns=columns)
    keys = [n * 7919 % (size + 5) for n in range(rows)]
    assert mapped == [(n, f"v{key}" if key < size else None) for n, key in enumerate(keys)]


@pytest.mark.parametrize("header", ['Code,NAME,"tax, %"', 'code,Code,name,"TAX, %"'])
def test_case_does_not_matter_where_one_column_is_called_so(tmp_path: Path, header: str) -> None:
    more = ",x" if "code,Code" in header else ""
    _, mapped = execute(tmp_path, "id,C\n1,de\n", f"{header}\nDE{more},Germany,19\n")
    assert mapped == [(1, "GERMANY", 19)]


@pytest.mark.parametrize(
    ("seed", "words"),
    [
        ('code,name,"Tax, %"\nDE,a,1\nDE,b,2\n', "has the code 'DE' twice, the second time in line 3"),
        ('code,name,"Tax, %"\n,a,1\n', "has a row without code in line 2"),
        ("code,name,tax\n", r"needs one column 'Tax, %'; it has 'code', 'name', 'tax'"),
        ('code,name,"Tax, %"\nDE,a\n', "of 2 values for 3 columns in line 2: put a value"),
        ('code,name,"Tax, %"\n\nDE,a,1\nFR,a\n', "of 2 values for 3 columns in line 4: put a value"),
        ('code,name,"Tax, %"\nDE,"a', "is not a valid CSV file: line 2: unexpected end of data"),
        ("", "is empty: its first line must name the columns, code among them"),
        ("\n", "is empty: its first line"),
        ("Code;name;Tax\n", "It looks like the delimiter is ';': save it with commas"),
        ("code,Code,name\n", "needs one column 'Tax, %'"),
        (b"code,name\nDE,\xff\n", "is not UTF-8: .* Save it as UTF-8"),
    ],
)
def test_seeds_that_are_refused(tmp_path: Path, seed: str | bytes, words: str) -> None:
    with pytest.raises(RunFailed, match=words):
        execute(tmp_path, "id,C\n1,DE\n", seed)


@pytest.mark.parametrize("trouble", ["missing", "large"])
def test_seeds_are_looked_for_before_the_source_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the source was read")

    monkeypatch.setattr(LocalFiles, "fetch", read)
    if trouble == "large":
        monkeypatch.setattr(seeds, "SEED_BYTES", 10)
        words = "is larger than 10 bytes"
    else:
        monkeypatch.setattr(Path, "write_bytes", lambda *_: 0)
        words = "there is no file .*countries.csv"
    with pytest.raises(RunFailed, match=words):
        execute(tmp_path, "id,C\n1,DE\n")


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        (
            "seed('nations', id, 'name')",
            "there is no seed 'nations': .* Known here: countries",
        ),
        ("seed('countries', id)", "seed takes a seed, a key and a column"),
        ("seed('countries', id, id)", "seed takes a seed, a key and a column"),
        ("seed('countries', seed('countries', id, 'name'), 'name')", "can't come from a seed"),
        ("list_transform([id], x -> seed('countries', x, 'name'))", "for each item of a list"),
        ("seed('countries', now()::VARCHAR, 'name')", "must give the same output"),
        ("seed('countries', _lume_key0.v, 'name')", "are reserved for the engine"),
        ("seed('countries', (SELECT 1), 'name')", "a subquery"),
    ],
)
def test_expressions_that_are_refused(tmp_path: Path, sql: str, words: str) -> None:
    with pytest.raises(FlowError, match=words):
        execute(tmp_path, "id\n1\n", columns={"id": {}, "x": {"sql": sql}})


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": {"x": {"sql": "seed('countries', id, 'name')"}}},
        {"rules": [{"name": "r", "sql": "seed('countries', id, 'name') = 'x'"}], "seeds": SEEDS},
        {"expect": [{"name": "r", "sql": "min(seed('countries', id, 'name')) = 'x'"}], "seeds": SEEDS},
    ],
)
def test_only_columns_of_flows_with_seeds_call_it(changes: dict[str, Any]) -> None:
    with pytest.raises(FlowError, match="calls seed: only columns of a flow with"):
        compiled(**changes)


@pytest.mark.parametrize(
    ("seeds", "place", "words"),
    [
        ({"a b": {"path": "x", "key": "k"}}, "seeds.a b", "can't name a seed"),
        ({"a": "x"}, "seeds.a", "must be a table"),
        ({"a": {"path": "x"}}, "seeds.a.key", "is missing"),
        ({"a": {"path": "x", "key": "k", "more": 1}}, "seeds.a.more", "is not a known key"),
    ],
)
def test_mistakes(seeds: Any, place: str, words: str) -> None:
    with pytest.raises(FlowError, match=words) as caught:
        read_definition(people(seeds=seeds))
    assert caught.value.place == place


@pytest.mark.usefixtures("sold")
async def test_a_seed_in_a_root_or_uploaded(home: Path) -> None:
    (home / "in.csv").write_text("id,C\n1,de\n")
    async with serve(home) as wire:
        missing = await wire.run("sold:v1", "in.csv")
        assert missing["status"] == "FAILED"
        assert "there is no file" in missing["metadata"]["error_message"]
        await wire.ask("PUT", "/v1/uploads/c.csv", data=COUNTRIES.encode())
        run = await wire.run("sold:v1", "in.csv", force_rerun=True)
        assert run["status"] == "SUCCEEDED", run
        assert run["metadata"]["metrics"]["seeds"]["countries"]["rows"] == 2
        location = run["metadata"]["target_locations"]["mapped"]
        assert fetch(location) == [("Germany",)]


@pytest.fixture
def sold(home: Path) -> None:
    (home / "flows/sold.v1.toml").write_text(
        'flow = "sold"\nversion = "v1"\n[seeds.countries]\npath = "upload://c.csv"\nkey = "code"\n'
        "[columns.country]\nsql = \"seed('countries', upper(\\\"C\\\"), 'name')\"\nrequired = true\n"
    )
