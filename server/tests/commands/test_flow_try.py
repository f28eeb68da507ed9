"""`lume flow try`: a flow on a sample, with nothing published and nothing kept."""

import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cli.shell import Done, Shell
from local.flows import PEOPLE
from local.workbooks import Sheet, written

from lume_cli._output.row_table import reject_table
from lume_local.commands.flow_try import side_by_side

MIXED_CSV = "id,Email,Age\n1,a@example.org,1\nx,b@example.org,2\n3,c@example.org,3\n4,d@example.org,4\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people.toml").write_text(PEOPLE + '\n[target]\nmapped = "published.csv"\n')
    (tmp_path / "people.csv").write_text(MIXED_CSV)
    return tmp_path


def trying(lone: Shell, *words: str) -> Done:
    return lone.lume("flow", "try", "people.toml", "people.csv", *words)


@pytest.mark.thorough
def test_clean_and_rejected_rows_with_reasons(lone: Shell, folder: Path) -> None:
    before = sorted(path.name for path in folder.iterdir())
    done = trying(lone)
    assert done.code == 5, done.err
    assert done.out.startswith("people:v1 on people.csv: 4 rows read, 3 clean, 1 rejected\n  1 row: id")
    assert "CLEAN" in done.out
    assert "REJECTED" in done.out
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("kind", ["xlsx", "zip"])
def test_containers(lone: Shell, folder: Path, kind: str) -> None:
    """What `lume flow init` has written of a workbook or an archive is tried on it."""
    sheets = {"Hidden": Sheet([["?"]], "hidden"), "Orders": Sheet([["No", "Name"], [1, "A"], [2, "B"]])}
    sample = folder / f"orders.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(sample, "w") as archive:
            for name in ("a.csv", "b.csv", "readme.txt"):
                archive.writestr(name, "No,Name\n1,A\n")
    else:
        sample.write_bytes(written(kind, sheets))
    made = lone.lume("flow", "init", sample.name)
    (folder / "orders.toml").write_text(made.out)
    found = json.loads(lone.lume("flow", "try", "orders.toml", sample.name, "-o", "json").out)
    wanted = [
        {"no": 1, "name": "A"},
        {"no": 1 if kind == "zip" else 2, "name": "A" if kind == "zip" else "B"},
    ]
    assert (found["rows_read"], found["clean"]) == (2, wanted)


def test_the_data_of_an_archive_are_no_note_beside_them(lone: Shell, folder: Path) -> None:
    with zipfile.ZipFile(folder / "in.zip", "w") as archive:
        for name, text in (
            ("a.csv", "No,Name\n1,A\n"),
            ("readme.txt", "Ask Ada.\n"),
            ("licence.txt", "None.\n"),
        ):
            archive.writestr(name, text)
    made = lone.lume("flow", "init", "in.zip")
    assert ('members = "*.csv"' in made.out, "'readme.txt', 'licence.txt'" in made.err) == (True, True)


def test_a_sample_in_an_archive_has_its_own_name_in_warnings(lone: Shell, folder: Path) -> None:
    with zipfile.ZipFile(folder / "in.zip", "w") as archive:
        archive.writestr("orders.txt", "No,Name\n")
    made = lone.lume("flow", "init", "in.zip")
    assert "warning: orders.txt has no rows" in made.err


def test_json_has_the_rows(lone: Shell, folder: Path) -> None:
    found = json.loads(trying(lone, "-o", "json", "--limit", "2").out)
    assert (found["rows_read"], len(found["clean"]), len(found["rejected"])) == (4, 2, 1)
    assert set(found["clean"][0]) == {"id", "email", "age"}
    assert found["rejected"][0]["_lume_reasons"]


def test_amounts_keep_their_digits(lone: Shell, folder: Path) -> None:
    types = {"a": "DECIMAL(18,2)", "b": "DECIMAL(12,2)", "c": "decimal(6, 2)"}
    columns = [f'[columns.{name}]\ntype = "number"\nsql_type = "{one}"\n' for name, one in types.items()]
    (folder / "people.toml").write_text('flow = "people"\nversion = "v1"\n' + "".join(columns))
    (folder / "people.csv").write_text("a,b,c\n1234.5,1234.5,1234.5\n2500,2500,2500\n")
    shown = trying(lone)
    assert shown.out.split()[-10:] == ["CLEAN", *types, *["1234.50"] * 3, *["2500.00"] * 3]
    found = json.loads(trying(lone, "-o", "json").out)
    assert found["clean"] == [dict.fromkeys(types, 1234.5), dict.fromkeys(types, 2500.0)]


def test_rows_that_are_all_rejected_are_shown(lone: Shell, folder: Path) -> None:
    (folder / "people.csv").write_text("id,Email,Age\nx,a@example.org,1\ny,b@example.org,2\nz\n")
    done = trying(lone, "--limit", "2")
    assert (done.code, "FAILED: all 3 rows were rejected" in done.out) == (3, True), done.err
    assert "REJECTED" in done.out
    assert "b@example.org" in done.out
    found = json.loads(trying(lone, "-o", "json", "--limit", "2").out)
    assert (len(found["clean"]), len(found["rejected"])) == (0, 2)


def test_a_failure_calls_the_flow_as_its_file_does(lone: Shell, folder: Path) -> None:
    (folder / "people.csv").write_text("id;Email;Age\n1;a@example.org;1\n")
    done = trying(lone)
    assert (done.code, "which people:v1 reads" in done.out, "try-1" in done.out) == (3, True, False), done.out
    assert 'csv.delim = ";" in [source] (in a new flow version if this one is registered)' in done.out


def test_a_sample_is_the_whole_source_and_seeds_are_those_of_a_server_from_here(
    lone: Shell, tmp_path: Path
) -> None:
    for name, text in {"in/may/1.csv": "code\nGB\n", "c.csv": "code,name\nGB,Britain\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "flows").mkdir()
    for uri in ("in/{source_path}/*.csv", ["a.csv", "{source_path}"], "s3://bucket/{source_path}"):
        flow = (
            f'flow = "f"\nversion = "v1"\n[source]\nuri = {json.dumps(uri)}\n[seeds.countries]\npath = "c.csv"\n'
            "key = \"code\"\n[columns.name]\nsql = \"seed('countries', code, 'name')\"\n"
        )
        (tmp_path / "flows/f.toml").write_text(flow)
        done = lone.lume("flow", "try", "flows/f.toml", "in/may/1.csv")
        assert (done.code, done.out.split()[-1]) == (0, "Britain"), done

    (tmp_path / "c.csv").unlink()
    done = lone.lume("flow", "try", "flows/f.toml", "in/may/1.csv")
    assert done.code == 3
    said = " ".join(done.out.split())
    assert f"relative to the current folder, {tmp_path}): put it there, then try again" in said

    for seed, words in {
        "/etc/passwd": f"the seed '/etc/passwd' lies outside of the folders that a try may use: {tmp_path}",
        "s3://b/c.csv": "'s3://b/c.csv' is not a local file: a try takes paths",
    }.items():
        (tmp_path / "flows/f.toml").write_text(flow.replace('path = "c.csv"', f'path = "{seed}"'))
        done = lone.lume("flow", "try", "flows/f.toml", "in/may/1.csv")
        assert (done.code, words in " ".join(done.out.split())) == (3, True), done.out


def test_mistakes_are_all_reported(lone: Shell, folder: Path) -> None:
    (folder / "people.toml").write_text(
        'flow = "f"\nversion = "v1"\n[columns.a]\nrequird = true\ntype = "x"\n'
    )
    done = trying(lone)
    assert (done.code, done.out, done.err.count("people.toml:")) == (1, "", 2)


def test_a_ratio_that_would_fail_the_run_is_pointed_out(lone: Shell, folder: Path) -> None:
    (folder / "people.toml").write_text(PEOPLE + "\n[rejects]\nmax_ratio = 0.1\n")
    assert "with max_ratio = 0.1 this run would be FAILED" in trying(lone).out


@pytest.mark.thorough
def test_it_needs_no_server(folder: Path) -> None:
    """What a server and its client consist of is not even imported: that would take longer than the try."""
    program = (
        "import sys\nfrom lume_cli import main\ntry: main()\n"
        "finally: print({'aiohttp', 'lume_local._runs.sql.sql_store', 'lume_local._serve.serve'} & {*sys.modules}, "
        "file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, "flow", "try", "people.toml", "people.csv"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (5, "set()\n")


def test_no_table_of_the_target_is_asked(lone: Shell, folder: Path) -> None:
    """Of what is unique for ever a try knows the rows of the sample."""
    mapped = '[target]\nmapped = { url_env = "NO_URL", table = "t", mode = "append" }\n'
    (folder / "people.toml").write_text(
        f'flow = "f"\nversion = "v1"\n{mapped}[columns.id]\nunique = "ever"\n'
    )
    (folder / "people.csv").write_text("id\n1\n2\n1\n")
    done = trying(lone)
    assert (done.code, "3 rows read, 2 clean, 1 rejected" in done.out) == (5, True), done


def test_watch_tries_again_at_each_save(lone: Shell, folder: Path) -> None:
    with lone:
        started = lone.start("flow", "try", "people.toml", "people.csv", "--watch")
        started.until(lambda: "waiting for changes" in started.err)
        (folder / "people.toml").write_text("flow = 7")
        started.until(lambda: "flow: must be a" in started.err)
        (folder / "people.toml").rename(folder / "moved.toml")  # as some editors do in the middle of a save
        (folder / "moved.toml").write_text(PEOPLE)
        (folder / "moved.toml").rename(folder / "people.toml")
        started.until(lambda: started.out.count("4 rows read") == 2)
        started.signal(signal.SIGINT)
        assert started.end().code == 130


def test_side_by_side_where_there_is_room() -> None:
    clean, rejected = (
        [{"id": 1, "name": "Ann"}],
        [{"_lume_row": 2, "_lume_reasons": ["id: is empty"], "ID": ""}],
    )
    assert side_by_side(clean, rejected, 80) == [
        "CLEAN     |  REJECTED",
        "id  name  |  WHERE  WHY           ID",
        "1   Ann   |  row 2  id: is empty",
    ]
    assert side_by_side(clean, rejected, 30) == [
        "CLEAN",
        "id  name",
        "1   Ann",
        "",
        "REJECTED",
        "WHERE  WHY           ID",
        "row 2  id: is empty",
    ]
    assert side_by_side([], [], 80) == []


@pytest.mark.parametrize(
    ("files", "shown"),
    [
        (["in/may/north.csv", "in/may/south.csv"], ["north.csv", "south.csv"]),
        (["in/north/1.csv", "in/nord/1.csv"], ["north/1.csv", "nord/1.csv"]),
        (["s3://bucket/a/1.csv", "s3://bucket/a/1.csv"], ["1.csv", "1.csv"]),
        (["1.csv", "in/1.csv"], ["1.csv", "in/1.csv"]),
    ],
)
def test_of_several_files_it_is_said_which(files: list[str], shown: list[str]) -> None:
    kept = [{"_lume_row": n, "_lume_reasons": ["bad"], "_lume_file": file} for n, file in enumerate(files, 1)]
    kept.append({"_lume_line": 7, "_lume_reasons": ["bad"], "_lume_file": files[1], "_lume_raw": "x"})

    places = [line.partition("  ")[0] for line in reject_table(kept, None)]

    rows = [f"row 1 of all, {shown[0]}", f"row 2 of all, {shown[1]}"]  # counted over all files
    assert places == ["WHERE", *rows, f"line 7, {shown[1]}"]
