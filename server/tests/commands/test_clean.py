"""`lume clean`: files by a flow file, without a server."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli.shell import DEADLINE, Shell
from local.flows import PEOPLE, SLOW

from lume_local._shared.lock import holder

MIXED = "id,Email,Age\n1,a@example.org,1\nx,b@example.org,2\n3,c@example.org,3\n4,d@example.org,4\n"
ACCOUNT = """people:v1 on people.csv: 4 rows read, 3 clean, 1 rejected
  1 row: id: is not a valid integer
  mapped: people.clean.parquet
  rejects: people.rejects.csv
"""

PIPED = [sys.executable, "-m", "lume_cli", "clean", "people.csv", "--flow", "people.toml", "-o"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "people.toml").write_text(PEOPLE)
    (tmp_path / "people.csv").write_text(MIXED)
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".toml")


def test_outputs_are_beside_the_source_and_the_account_is_told(lone: Shell, folder: Path) -> None:
    done = lone.lume("clean", "people.csv", "--flow", "people.toml")
    assert (done.code, done.out, done.err) == (5, "", ACCOUNT)
    assert names(folder) == ["people.clean.parquet", "people.csv", "people.rejects.csv"]
    assert lone.lume("clean", "people.csv", "--flow", "people.toml", "--allow-partial").code == 0

    (folder / "people.csv").write_text("id,Email,Age\n1,a@example.org,1\n")
    done = lone.lume("clean", "people.csv", "--flow", "people.toml", "-o", "json")
    document = json.loads(done.out)
    assert (done.code, done.err, document["status"]) == (0, "", "SUCCEEDED")
    assert document["metadata"]["metrics"]["rows_mapped"] == 1
    assert document["metadata"]["target_locations"] == {
        "mapped": str(folder / "people.clean.parquet"),
        "rejects": None,
    }
    assert names(folder) == ["people.clean.parquet", "people.csv"]


def test_several_files_are_one_source(lone: Shell, folder: Path) -> None:
    (folder / "more.csv").write_text("id,Email,Age\n1,z@example.org,1\n")
    to = ("--to", "out/", "--rejects", "bad.ndjson")
    done = lone.lume("clean", "people.csv", "more.csv", "--flow", "people.toml", *to)
    assert done.code == 5
    assert "on people.csv, more.csv: 5 rows read, 3 clean, 2 rejected" in done.err
    rows = [json.loads(line) for line in (folder / "bad.ndjson").read_text().splitlines()]
    assert [row["_lume_file"] for row in rows] == ["people.csv", "more.csv"]
    assert names(folder / "out") == ["people.clean.parquet"]


def test_rows_go_through_pipes(lone: Shell, folder: Path) -> None:
    done = lone.lume("clean", "-", "--flow", "people.toml", stdin=MIXED)
    assert done.out == "id,email,age\n1,a@example.org,1\n3,c@example.org,3\n4,d@example.org,4\n"
    assert (done.code, "on stdin: 4 rows" in done.err, "rejects: not written" in done.err) == (5, True, True)
    done = lone.lume(
        "clean", "people.csv", "--flow", "people.toml", "--to", "-", "-o", "ndjson", "--rejects", "r.csv"
    )
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == [1, 3, 4]
    assert json.loads(done.err)["run"]["status"] == "PARTIAL_FAILED"
    assert names(folder) == ["people.csv", "r.csv"]


def test_arrow_goes_to_stdout(folder: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    command = [*PIPED, "arrow"]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=DEADLINE, check=False)
    table = pa.ipc.open_stream(io.BytesIO(done.stdout)).read_all()
    assert (done.returncode, table.column("id").to_pylist()) == (5, [1, 3, 4])
    assert names(folder) == ["people.csv"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none.csv"], 2, "none.csv does not exist"),
        (["."], 2, ". is a folder: name the files in it"),
        (["-", "people.csv"], 2, "stdin (-) is read alone"),
        (["people.csv", "--to", "a.csv", "-o", "csv"], 2, "leave out --to, or -o csv"),
        (["people.csv", "--to", "-", "-o", "json"], 2, "use -o ndjson"),
        (["people.csv", "--to", "a.xlsx"], 2, "name a file that ends with .parquet, .csv, .ndjson"),
        (["people.csv", "--to", "-", "--rejects", "a.txt"], 2, "name a file that ends with"),
        (["people.csv", "-o", "ids"], 2, "use table, json, ndjson, csv or arrow"),
        (["people.csv", "--to", "people.csv/a.csv"], 1, "people.csv: "),
        (["people.csv", "--layout", "acme"], 3, "people:v1 has no layouts"),
        (["s.csv"], 3, "which people:v1 reads"),
    ],
)
def test_what_cannot_be_done_is_refused(
    lone: Shell, folder: Path, words: list[str], code: int, said: str
) -> None:
    (folder / "s.csv").write_text("id;Email;Age\n1;a@example.org;1\n")
    before = names(folder)
    done = lone.lume("clean", *words, "--flow", "people.toml")
    assert (done.code, done.out, said in done.err) == (code, "", True), done
    assert names(folder) == before


def test_mistakes_of_the_flow_are_all_reported(lone: Shell, folder: Path) -> None:
    (folder / "bad.toml").write_text('flow = "f"\nversion = "v1"\n[columns.a]\nrequird = true\ntype = "x"\n')
    done = lone.lume("clean", "people.csv", "--flow", "bad.toml")
    assert (done.code, done.out, done.err.count("bad.toml:")) == (1, "", 2)


def test_only_what_is_needed_is_imported(folder: Path) -> None:
    program = (
        "import sys\nfrom lume_cli import main\ntry: main()\nfinally:\n"
        "  own = [one for one in sys.modules if one.startswith(('lume_async.', 'lume_cli.', 'lume_local.'))]\n"
        "  heavy = {'aiohttp', 'boto3', 'obstore', 'psycopg', 'pyarrow', 'rich', 'lume_async._client',\n"
        "           'lume_local._serve.serve', 'lume_local._runs.sql.sql_store'}\n"
        "  print(sorted(heavy & {*sys.modules}), len(own), file=sys.stderr)"
    )
    command = [sys.executable, "-c", program, "clean", "people.csv", "--flow", "people.toml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False)
    heavy, _, own = done.stderr.splitlines()[-1].rpartition(" ")
    assert (done.returncode, heavy) == (5, "[]"), done.stderr
    assert int(own) < 185, "another room that every clean imports"


@pytest.fixture
def slow(folder: Path) -> Path:
    """A flow that takes a while, and the outputs of an earlier clean of its source."""
    (folder / "slow.toml").write_text(SLOW)
    (folder / "slow.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(50_000)))
    for name in ("slow.clean.parquet", "slow.rejects.csv"):
        (folder / name).write_text(f"_lume_row: an earlier {name}")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_leaves_the_outputs_as_they_were(lone: Shell, slow: Path, number: signal.Signals) -> None:
    before = contents(slow)
    with lone:
        started = lone.start("clean", "slow.csv", "--flow", "slow.toml")
        started.until(lambda: any(map(holder, slow.glob(".lume-clean-*/runs/*/lock"))))
        started.signal(number)
        done = started.end()
    assert contents(slow) == before
    if number != signal.SIGKILL:
        assert (done.code, done.err) == (128 + number, "interrupted\n")
        assert not list(slow.glob(".lume-clean-*"))
        return
    (slow / "slow.csv").write_text("id\n1\n")
    assert lone.lume("clean", "slow.csv", "--flow", "slow.toml").code == 0
    assert not list(slow.glob(".lume-clean-*")), "the next one removes what the killed one has left"
    assert not (slow / "slow.rejects.csv").exists()


def test_a_reader_that_ends_early_is_no_error(folder: Path) -> None:
    (folder / "many.csv").write_text(
        "id,Email,Age\n" + "".join(f"{n},a@example.org,1\n" for n in range(50_000))
    )
    command = f"{sys.executable} -m lume_cli clean many.csv --flow people.toml --to - | head -n 1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert (done.stdout.splitlines(), done.stderr) == (["id,email,age", "141"], "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no disk that is full")
def test_a_full_disk_is_reported(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        command = [*PIPED, "csv"]
        done = subprocess.run(
            command, cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (1, "error: can't write to stdout: No space left on device\n")


def test_progress_is_for_terminals(lone: Shell, slow: Path) -> None:
    (slow / "slow.csv").write_text("id\n" + "".join(f"{n}\n" for n in range(200)))
    with lone:
        drawn = lone.screen("clean", "slow.csv", "--flow", "slow.toml")
    assert "\x1b[" in drawn.out
    assert any(stage in drawn.out for stage in ("CREATED", "SYNCING", "TRANSFORMING"))
    assert "\x1b" not in lone.lume("clean", "slow.csv", "--flow", "slow.toml").err


def test_a_named_pipe_is_read(lone: Shell, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with lone:
        started = lone.start("clean", "pipe", "--flow", "people.toml", "--to", "out.csv")
        with open(folder / "pipe", "w") as pipe:
            pipe.write(MIXED)
        assert started.end().code == 5
    assert (folder / "out.csv").read_text().startswith("id,email,age\n1,")


def test_a_pipe_of_the_shell_has_its_outputs_in_the_current_folder(folder: Path) -> None:
    command = f"{sys.executable} -m lume_cli clean <(cat people.csv) --flow people.toml"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, timeout=DEADLINE, check=False
    )
    assert done.returncode == 5, done.stderr
    assert names(folder) == ["people.clean.parquet", "people.csv", "people.rejects.csv"]


def test_a_pipe_that_nobody_writes_to_can_be_interrupted(lone: Shell, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with lone:
        started = lone.start("clean", "pipe", "--flow", "people.toml", "--to", "out.csv")
        started.until(lambda: any(folder.glob(".lume-clean-*/pipe-*")))
        started.signal(signal.SIGINT)
        done = started.end()
    assert (done.code, done.err) == (130, "interrupted\n")
    assert names(folder) == ["pipe", "people.csv"][::-1]


def test_what_a_clean_killed_at_a_pipe_left_is_removed(lone: Shell, folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with lone:
        started = lone.start("clean", "pipe", "--flow", "people.toml", "--to", "out.csv")
        started.until(lambda: any(folder.glob(".lume-clean-*/pipe-*")))
        started.signal(signal.SIGKILL)
        started.end()
    assert list(folder.glob(".lume-clean-*"))
    assert lone.lume("clean", "people.csv", "--flow", "people.toml", "--allow-partial").code == 0
    assert not list(folder.glob(".lume-clean-*"))
