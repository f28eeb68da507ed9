"""The newcomer commands say what is missing. What they install is tried by running them in a fresh clone."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bin_folder(tmp_path) -> Path:
    """A PATH with no Python on it, just what a shell script needs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "dirname", "cat"):
        found = shutil.which(tool)
        assert found
        (folder / tool).symlink_to(found)
    return folder


@pytest.fixture
def command(tmp_path, bin_folder):
    """Runs a script of a project that has no .venv yet, from another folder."""
    shutil.copytree(ROOT / "scripts", tmp_path / "project with a space" / "scripts")

    def run(name: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [tmp_path / "project with a space" / "scripts" / name],
            capture_output=True,
            text=True,
            cwd=bin_folder,
            env={"PATH": str(bin_folder), **environment},
            timeout=20,
        )

    return run


def fake_python(path: Path, answer: str) -> None:
    path.write_text(f'#!/bin/sh\ncase "$*" in {answer} esac\nexec {sys.executable} "$@"\n')
    path.chmod(0o755)


@pytest.mark.parametrize("name", ["demo", "test", "check"])
def test_says_what_to_install_where_there_is_no_python(command, name) -> None:
    done = command(name)

    assert done.returncode == 1
    assert "No Python 3.11 or newer was found" in done.stderr
    assert "apt install" in done.stderr


def test_passes_over_a_python_that_is_too_old(command, bin_folder) -> None:
    fake_python(bin_folder / "python3", "*version_info*) exit 1;;")

    assert "No Python 3.11 or newer was found" in command("demo").stderr


def test_says_that_the_venv_module_is_missing(command, bin_folder) -> None:
    fake_python(bin_folder / "python3", "*ensurepip*) exit 1;;")
    done = command("demo")

    assert done.returncode == 1
    assert f"apt install python{sys.version_info.major}.{sys.version_info.minor}-venv" in done.stderr


def test_says_what_to_install_where_there_is_no_apt(command, bin_folder) -> None:
    for tool in ("bash", "env"):
        found = shutil.which(tool)
        assert found
        (bin_folder / tool).symlink_to(found)
    for program in (
        "haproxy",
        "nginx",
        "ip",
        "openssl",
        "stdbuf",
        "faketime",
        "google-chrome",
        "java",
        "promtool",
        "systemd-analyze",
        "node",
        "npm",
        "mitmdump",
    ):  # all but tmux
        (bin_folder / program).write_text("#!/bin/sh\n")
        (bin_folder / program).chmod(0o755)
    done = command("components")

    assert done.returncode == 1
    assert "Installing tmux: a real terminal" in done.stderr
    assert "install tmux with the system's own package manager" in done.stderr


def test_takes_the_python_that_it_was_given_or_none(command, bin_folder) -> None:
    fake_python(bin_folder / "python3", "nothing) ;;")
    done = command("test", PYTHON="/no/such/python")

    assert done.returncode == 1
    assert "$PYTHON is '/no/such/python'" in done.stderr
