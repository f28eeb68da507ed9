"""Each distribution builds, its metadata is accepted, and it has its own packages and no others."""

import configparser
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from lume_async import __version__ as VERSION

ROOT = Path(__file__).parents[2]
FOLDERS = {"lume-client": ROOT, "lume-local": ROOT / "server", "airflow-provider-lume": ROOT / "airflow"}
PACKAGES = {
    "lume-client": {"lume_async", "lume_cli", "lume_sync"},
    "lume-local": {"lume_local"},
    "airflow-provider-lume": {"lume_airflow"},
}
every_distribution = pytest.mark.parametrize("name", FOLDERS)


def project(name: str) -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((FOLDERS[name] / "pyproject.toml").read_text())["project"]
    return found


def run(*words: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Return what `python -m` with these words prints."""
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=cwd, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_they_have_one_version_and_are_pinned_to_each_other() -> None:
    assert {project(name)["version"] for name in FOLDERS} == {VERSION}
    pins = {
        (name, wanted)
        for name in FOLDERS
        for wanted in project(name)["dependencies"]
        if wanted.startswith(("lume-", "airflow-provider"))
    }
    assert pins == {
        ("lume-local", f"lume-client[cli]=={VERSION}"),
        ("airflow-provider-lume", f"lume-client=={VERSION}"),
    }


def test_they_have_one_licence_and_one_address() -> None:
    assert len({(folder / "LICENSE").read_bytes() for folder in FOLDERS.values()}) == 1
    assert len({tuple(project(name)["urls"].values()) for name in FOLDERS}) == 1


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with wheels and source archives; each wheel was built from its archive, as for a release."""
    folder = tmp_path_factory.mktemp("dist")
    for place in FOLDERS.values():
        run("build", "--no-isolation", "--outdir", str(folder), str(place))
    return folder


def wheel_of(built: Path, name: str) -> Path:
    (found,) = built.glob(f"{name.replace('-', '_')}-*.whl")
    return found


def metadata_of(wheel: Path) -> tuple[Message, configparser.ConfigParser]:
    entry_points = configparser.ConfigParser()
    with zipfile.ZipFile(wheel) as archive:
        names = {Path(name).name: name for name in archive.namelist() if ".dist-info/" in name}
        if "entry_points.txt" in names:
            entry_points.read_string(archive.read(names["entry_points.txt"]).decode())
        return Parser().parsestr(archive.read(names["METADATA"]).decode()), entry_points


@pytest.mark.thorough
def test_the_index_accepts_them(built: Path) -> None:
    run("twine", "check", "--strict", *map(str, built.iterdir()))


@pytest.mark.thorough
@every_distribution
def test_a_wheel_holds_its_packages_and_no_more(built: Path, name: str) -> None:
    with zipfile.ZipFile(wheel_of(built, name)) as archive:
        held = {one for one in archive.namelist() if ".dist-info/" not in one}
    folder = FOLDERS[name]
    files = {file for package in PACKAGES[name] for file in (folder / package).rglob("*") if file.is_file()}
    assert held == {str(file.relative_to(folder)) for file in files if "__pycache__" not in file.parts}
    assert {f"{package}/py.typed" for package in PACKAGES[name]} < held


@pytest.mark.thorough
@every_distribution
def test_entry_points_and_links(built: Path, name: str) -> None:
    """A client alone is no plugin of pytest or Airflow, and an index shows a description by itself."""
    metadata, entry_points = metadata_of(wheel_of(built, name))
    groups = {
        "lume-client": {"console_scripts"},
        "lume-local": {"lume.commands", "pytest11"},
        "airflow-provider-lume": {"apache_airflow_provider"},
    }
    assert set(entry_points.sections()) == groups[name]
    description = metadata.get_payload()
    assert isinstance(description, str)
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert [link for link in links if not link.startswith("https://")] == []
    assert links


@pytest.mark.thorough
def test_the_source_archive_of_the_client_holds_what_tests_it(built: Path) -> None:
    (archive,) = built.glob("lume_client-*.tar.gz")
    with tarfile.open(archive) as opened:
        tops = {name.split("/")[1] for name in opened.getnames()}
    assert tops >= {
        *PACKAGES["lume-client"],
        "pyproject.toml",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        "tests",
    }
    assert not tops & {".ci", ".git", ".venv", "site", "server", "airflow"}


@pytest.mark.thorough
def test_the_client_works_from_its_wheel_alone(built: Path, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    wheel = wheel_of(built, "lume-client")
    run("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(lib), str(wheel))
    # -S and -I would hide the dependencies: the checkout is hidden by a finder instead.
    hidden = "import sys; sys.modules['lume_local'] = None; "
    program = f"{hidden}import lume_async, lume_sync; print(lume_async.__file__); lume_sync.Client"
    env = {**os.environ, "PYTHONPATH": str(lib)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout.startswith(str(lib))
    assert "lume" in run("lume_cli", "--version", env=env, cwd=tmp_path)
    assert (lib / "bin" / "lume").exists()


@pytest.mark.thorough
def test_the_server_works_from_its_wheel(built: Path, tmp_path: Path) -> None:
    lib = tmp_path / "lib"
    wheels = [str(wheel_of(built, name)) for name in ("lume-client", "lume-local")]
    run("pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(lib), *wheels)
    env = {**os.environ, "PYTHONPATH": str(lib)}
    program = "import lume_local; print(lume_local.__file__); lume_local.serve"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        env=env,
        cwd=tmp_path,
        check=True,
    )
    assert done.stdout.startswith(str(lib))
    assert "--flows" in run("lume_cli", "serve", "--help", env=env, cwd=tmp_path)
