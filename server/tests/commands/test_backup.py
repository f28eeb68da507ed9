"""`lume backup` and `lume restore`: what they print, what they refuse."""

import json
from pathlib import Path

import pytest
from cli.shell import Shell
from local.flows import PEOPLE_CSV, slow_rows, write_flows

import lume_local
from lume_async import RunStatus


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder of a server that was killed: with a run that had ended, and one that was active."""
    write_flows(tmp_path / "flows")
    (tmp_path / "people.csv").write_text(PEOPLE_CSV)
    (tmp_path / "slow.csv").write_text(slow_rows())
    with (
        lume_local.serve_in_thread(tmp_path / "flows", tmp_path / ".lume", [tmp_path]) as server,
        server.client() as client,
    ):
        client.run("people:v1", "people.csv").wait(timeout=30)
        run = client.run("slow:v1", "slow.csv")
        while run.status in (RunStatus.CREATED, RunStatus.SYNCING_SOURCE):
            run.refresh()
        lume_local.back_up(tmp_path / ".lume", tmp_path / "first", outputs=True)
    return tmp_path / ".lume"


@pytest.mark.thorough
def test_there_and_back(data: Path, lone: Shell) -> None:
    made = lone.lume("backup", "copy", "--outputs")
    assert (made.code, made.out) == (0, "copy\n")
    assert "2 runs, 0 uploads, 1 output file. The server's own key is not included" in made.err
    back = lone.lume("restore", "first", "--data", "new", "-o", "json")
    assert back.code == 0
    assert json.loads(back.out) == json.loads((data.parent / "first/backup.json").read_text())
    assert "active at that time: 1 run, which" in back.err
    assert "look at their outputs before you submit them again" in back.err
    plain = lone.lume("restore", "copy", "--data", "other")
    assert (plain.out, "active" in plain.err) == ("other\n", False)


def test_refusals(lone: Shell, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for words, message in (
        (
            ("backup", "copy", "--data", "empty"),
            "is not the data folder of a server: it has no state/runs.sqlite (a state elsewhere is named",
        ),
        (("restore", "empty", "--data", "new"), "is not a backup of lume: backup.json can't be read"),
    ):
        refused = lone.lume(*words)
        assert (refused.code, refused.out) == (1, "")
        assert message in refused.err
    assert lone.lume("restore", "empty").code == 2
    assert lone.lume("backup", "copy").code == 2  # without a data folder
    assert not (tmp_path / "copy").exists()
    assert not (tmp_path / "new").exists()
