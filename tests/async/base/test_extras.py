"""An extra that is missing: the command that installs it, from where this copy came."""

import json
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from urllib.parse import unquote

import pytest

from lume_async import MissingLibraryError
from lume_async._base import extras, platform
from lume_async._run.results.frames import library

PIP = f"{sys.executable} -m pip install"


@pytest.fixture(autouse=True)
def on_unix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its quotes and paths, unless a test is about those of Windows."""
    monkeypatch.setattr(platform, "IS_POSIX", True)


@pytest.fixture
def with_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that has pip, whatever made the one that the tests run in."""
    monkeypatch.setattr(extras, "find_spec", lambda name: object())


@pytest.fixture
def origin(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object] | None]:
    """What the installer noted about where the distribution came from."""
    found: list[dict[str, object] | None] = []

    class Distribution:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return None if found[0] is None else json.dumps(found[0])

    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Distribution())
    return found


@pytest.mark.parametrize(
    ("noted", "requirement"),
    [
        (None, "'lume-client[cli]'"),
        ({"url": "file:///src/lume%20client", "dir_info": {}}, "'/src/lume client[cli]'"),
        ({"url": "file:///src", "dir_info": {"editable": True}}, "-e '/src[cli]'"),
        (
            {"url": "https://host/lume.git", "vcs_info": {"vcs": "git", "commit_id": "c"}},
            "'lume-client[cli] @ git+https://host/lume.git'",
        ),
        ({"url": "https://host/x.whl", "archive_info": {}}, "'lume-client[cli] @ https://host/x.whl'"),
    ],
)
@pytest.mark.usefixtures("with_pip")
def test_where_it_came_from(
    origin: list[dict[str, object] | None], noted: dict[str, object] | None, requirement: str
) -> None:
    origin.append(noted)
    assert extras.install_command("cli") == f"{PIP} {requirement}"


@pytest.mark.usefixtures("with_pip")
def test_a_checkout_that_is_only_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.distribution", missing)
    root = Path(extras.__file__).parents[2]
    assert extras.install_command("cli") == f"{PIP} '{root}[cli]'"
    assert extras.install_command(name="lume-local") == f"{PIP} {root}/server"


@pytest.mark.parametrize(
    ("url", "requirement"),
    [
        ("file:///C:/src/lume%20client", r'"C:\src\lume client[cli]"'),
        ("file:///C:/src", r"C:\src[cli]"),
        ("https://host/x.whl", '"lume-client[cli] @ https://host/x.whl"'),
    ],
)
@pytest.mark.usefixtures("with_pip")
def test_on_windows_the_command_has_its_paths_and_quotes(
    origin: list[dict[str, object] | None], monkeypatch: pytest.MonkeyPatch, url: str, requirement: str
) -> None:
    def url2pathname(path: str) -> str:
        """As that of Windows, for a drive."""
        return unquote(path.removeprefix("/")).replace("/", "\\")

    monkeypatch.setattr(platform, "IS_POSIX", False)
    monkeypatch.setattr("urllib.request.url2pathname", url2pathname)
    origin.append({"url": url})
    assert extras.install_command("cli") == f"{PIP} {requirement}"


def test_an_environment_without_pip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert extras.install_command("cli").startswith(f"uv pip install --python {sys.executable} ")
    with pytest.raises(
        MissingLibraryError, match=f": uv pip install --python {sys.executable} no_such_module$"
    ):
        library("no_such_module")


def test_a_module_that_is_missing_is_named_with_the_command() -> None:
    extras.require("json", "cli", "this")
    with pytest.raises(ModuleNotFoundError, match=r"this needs no_such_module: .*\[cli\]") as caught:
        extras.require("no_such_module", "cli", "this")
    assert caught.value.name == "no_such_module"
