"""Flow files that change under a running server."""

from pathlib import Path

import pytest

from lume_local.commands.serving import FlowChanges

FLOW = 'flow = "f"\nversion = "v1"\n[columns.a]\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "f.toml").write_text(FLOW)
    return tmp_path / "f.toml"


def test_a_change_is_reported_once_with_the_ways_out(file: Path) -> None:
    changes = FlowChanges(file.parent)
    assert changes.changes() == []
    file.write_text(FLOW + "required = true\n")
    (warning,) = changes.changes()
    assert warning.startswith(f"{file} has changed, but f:v1 stays as it was. To use the change at once")
    assert "lume flow try" in warning
    assert "--dev" in warning
    assert changes.changes() == []
    file.write_text(FLOW + "required = true # a comment\n")
    assert changes.changes() == []
    file.write_text(FLOW + "required = false\n")
    assert len(changes.changes()) == 1


def test_a_development_server_goes_along(file: Path) -> None:
    changes = FlowChanges(file.parent, dev=True)
    file.write_text(FLOW + "required = true\n")
    assert changes.changes() == [f"{file} has changed: the next run of f:v1 uses it"]


@pytest.mark.parametrize(
    "text", [FLOW + "# a comment\n", FLOW.replace("v1", "v2"), "in the middle of an edit", ""]
)
def test_what_changes_nothing_that_is_served(file: Path, text: str) -> None:
    changes = FlowChanges(file.parent)
    file.write_text(text)
    assert changes.changes() == []


def test_files_that_come_and_go(file: Path) -> None:
    changes = FlowChanges(file.parent)
    (file.parent / "new.toml").write_text(FLOW.replace("v1", "v2"))
    file.unlink()
    assert changes.changes() == []
