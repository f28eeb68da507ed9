"""What is published: it builds, its metadata is accepted, and it holds what it should and nothing else."""

import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lume_airflow", "lume_async", "lume_cli", "lume_local", "lume_sync")


def run(*words: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """`python -m` with these words; what it printed."""
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the source archive; the one was made from the other, as a release's are."""
    folder = tmp_path_factory.mktemp("dist")
    run("build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.mark.thorough
def test_the_index_accepts_it(built: Path) -> None:
    run("twine", "check", "--strict", *map(str, built.iterdir()))


@pytest.mark.thorough
def test_the_wheel_holds_the_packages_and_no_more(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = {file for package in PACKAGES for file in (ROOT / package).rglob("*") if file.is_file()}
    assert held == {str(file.relative_to(ROOT)) for file in files if "__pycache__" not in file.parts}
    assert {f"{package}/py.typed" for package in PACKAGES} < held


@pytest.mark.thorough
def test_the_source_archive_holds_what_builds_and_tests_it(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        tops = {name.split("/")[1] for name in opened.getnames()}
    assert tops >= {
        *PACKAGES,
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "tests",
        "docs",
        "scripts",
    }
    assert not tops & {".ci", ".git", ".venv", "site"}


@pytest.mark.thorough
def test_it_works_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    run("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(tmp_path / "lib"), str(wheel))
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "lib")}
    names = "print(lume_async.__file__); lume_sync.Client; lume_local.serve"
    program = f"import lume_async, lume_local, lume_sync; {names}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout.startswith(str(tmp_path))
    assert "lume" in run("lume_cli", "--version", env=env, cwd=tmp_path)
    assert (tmp_path / "lib" / "bin" / "lume").exists()
