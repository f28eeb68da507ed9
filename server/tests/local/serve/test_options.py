"""Every option of a server with odd values: refused at once by its name, before anything exists, or it works."""

import inspect
import typing
from pathlib import Path
from typing import Any

import pytest
from odd_values import ODD, fits, names

import lume_local
from lume_async import ConfigurationError

HINTS = typing.get_type_hints(lume_local.ServerOptions)
FOLDERS = {
    name: typing.get_type_hints(lume_local.serve)[name]
    for name, one in inspect.signature(lume_local.serve).parameters.items()
    if one.kind is not inspect.Parameter.VAR_KEYWORD
}
OPTIONS = FOLDERS | HINTS
LISTENING = {"host": "can't listen on"}
"""What a server says of an address that may be one."""
TOGETHER = {"lineage_key": {"lineage_url": "http://127.0.0.1:9/"}}
"""What an option needs beside it."""


async def started(home: Path, options: dict[str, Any], *, in_thread: bool) -> None:
    settings = {"flows": None, "data": home / "data", **options}
    if in_thread:
        with lume_local.serve_in_thread(**settings):
            return
    async with lume_local.serve(**settings):
        return


async def verdict(home: Path, name: str, value: Any, *, in_thread: bool) -> str:
    """What is wrong; an empty string if nothing is."""
    fitting = fits(value, OPTIONS[name])
    home.mkdir()
    try:
        await started(home, TOGETHER.get(name, {}) | {name: value}, in_thread=in_thread)
    except ConfigurationError as error:
        if not fitting and any(home.iterdir()):
            return f"is refused late: {error}"
        named = names(str(error), name) or LISTENING.get(name, name) in str(error)
        return "" if named else f"is refused without its name: {error}"
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    return "" if fitting else "is accepted"


@pytest.mark.parametrize(
    ("name", "in_thread"), [*((name, False) for name in OPTIONS), *((name, True) for name in FOLDERS)]
)
async def test_what_an_option_can_not_be_is_refused_at_once_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, in_thread: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = {}
    for label, make in ODD.items():
        if not fits(value := make(), OPTIONS[name]):
            wrong[label] = await verdict(tmp_path / label, name, value, in_thread=in_thread)
    assert not any(wrong.values()), wrong


@pytest.mark.thorough
@pytest.mark.parametrize("name", OPTIONS)
async def test_what_an_option_may_be_works_or_is_refused_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    wrong = {}
    for label, make in ODD.items():
        if fits(value := make(), OPTIONS[name]):
            wrong[label] = await verdict(tmp_path / label, name, value, in_thread=False)
    assert not any(wrong.values()), wrong


@pytest.mark.parametrize("start", [lume_local.serve, lume_local.serve_in_thread])
def test_both_have_the_same_parameters(start: Any) -> None:
    found = inspect.signature(start)
    assert found.parameters == inspect.signature(lume_local.serve).parameters


def test_the_parameters_and_their_order() -> None:
    *named, options = inspect.signature(lume_local.serve).parameters.values()
    assert options.kind is inspect.Parameter.VAR_KEYWORD
    assert [(one.name, one.default) for one in named] == [
        ("flows", "flows"),
        ("data", ".lume"),
        ("roots", None),
        ("host", "127.0.0.1"),
        ("port", 0),
        ("api_key", None),
        ("max_active", None),
    ]
