"""What the documentation claims about the library as a whole: each public name has its entry, each limit its test."""

import importlib
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import metadata
from pathlib import Path

import click
import pytest

import lume_async
import lume_local
import lume_sync
from lume_cli._app import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ENTRY = re.compile(r"^::: (\S+)\n((?:    .*\n)*)", re.MULTILINE)
PLACE = re.compile(r"`((?:lume_|tests\b|tools\b|benchmarks\b)[\w]*/[\w.*/-]+)`")
LIMIT = re.compile(r"\b(?:not|un)[ -]?supported\b", re.IGNORECASE)
LIMITS = {
    ("index.md", "Windows"): "tests/repository/test_docs_claims.py::test_the_metadata_names_no_windows",
    ("guides/await-in-a-service.md", "Trio"): "tests/faults/test_trio.py::test_one_clear_sentence",
    (
        "guides/production.md",
        "SOCKS",
    ): "tests/async/http/test_settings.py::test_a_proxy_that_can_not_be_used_is_said_at_once",
    (
        "guides/migrate.md",
        "`input_files=[…]`",
    ): "tests/async/run/test_submit.py::test_bad_arguments_are_not_sent",
    (
        "guides/airflow.md",
        "Airflow 2.11",
    ): "airflow/tests/on_airflow/test_versions.py::test_direct_mode_is_refused_when_the_dag_is_read",
}
"""Page and subject of each sentence that says what is not supported, and the test that shows it."""


def documented(page: str) -> set[str]:
    """The names that a page of the reference has an entry for."""
    text = (DOCS / "reference" / page).read_text(encoding="utf-8")
    names = set(re.findall(r"`(\w+)`", text))
    for place, options in ENTRY.findall(text):
        listed = re.search(r" members:((?:\n +- \S+)+|.*)", options)
        members = re.findall(r"\w+", listed[1].replace("- ", " ")) if listed else None
        try:
            source = Path(str(importlib.import_module(place).__file__)).read_text(encoding="utf-8")
            # Only what stands there: a lazy look-up may have put names of other modules into this one.
            own = re.findall(r"^(?:async def |def |class |)(\w+)[(:\[ ]", source, re.MULTILINE)
            names |= set(own if members is None else members)
        except ModuleNotFoundError:
            names.add(place.rpartition(".")[2])
    return names


@pytest.mark.parametrize(
    ("package", "pages"),
    [
        (lume_async, ["lume_async.md"]),
        (lume_sync, ["lume_sync.md", "lume_async.md"]),
        (lume_local, ["lume_local.md"]),
    ],
    ids=lambda given: getattr(given, "__name__", ""),
)
def test_every_public_name_is_in_the_reference(package, pages) -> None:
    # Errors have a page of their own: test_docs.py.
    names = {name for name in package.__all__ if not name.endswith("Error")}
    assert names - set().union(*map(documented, pages)) == set()


def commands(command: click.Command, *words: str) -> Iterator[tuple[str, click.Command]]:
    """All commands below a group, with their names."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from commands(below, *words, name)
    else:
        yield " ".join(words), command


def test_every_command_and_option_is_documented() -> None:
    reference = (DOCS / "reference" / "cli.md").read_text(encoding="utf-8")
    pages = "".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    missing = []
    for name, command in commands(app):
        missing += [] if f"`lume {name}" in reference else [name]
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                long = [text for text in option.opts if text.startswith("--")]
                missing += [f"{name} {text}" for text in long if not re.search(rf"{text}\b", pages)]
    assert missing == []


def test_the_metadata_names_no_windows() -> None:
    assert [name for name in metadata("lume-client").get_all("Classifier") or () if "Operating" in name] == [
        "Operating System :: POSIX"
    ]


def test_every_limit_names_a_test_that_exists() -> None:
    found = {
        (str(page.relative_to(DOCS)), sentence)
        for page in DOCS.rglob("*.md")
        if page.parent.name != "design"
        for sentence in re.split(r"(?<=[.:;])\s|\n\n|\n- ", page.read_text(encoding="utf-8"))
        if LIMIT.search(sentence)
    }
    known = {
        (page, sentence)
        for page, sentence in found
        for where, what in LIMITS
        if where == page and what in sentence
    }
    assert found - known == set()
    for place in LIMITS.values():
        file, name = place.split("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), place


def test_every_file_that_a_page_names_exists() -> None:
    missing = {
        f"{page.relative_to(DOCS)}: {place}"
        for page in DOCS.rglob("*.md")
        for place in PLACE.findall(page.read_text(encoding="utf-8"))
        if not any(ROOT.glob(place))
    }
    assert missing == set()


def test_every_extra_that_a_page_installs_exists() -> None:
    pages = [
        *DOCS.rglob("*.md"),
        DOCS / "llms.txt",
        *(ROOT / name for name in ("README.md", "deploy/Containerfile")),
    ]
    asked = {
        (folder, extra, page.name)
        for page in pages
        for folder, extras in re.findall(
            r"[\"' ](\.|\./server)\[([\w,]+)\]", page.read_text(encoding="utf-8")
        )
        for extra in extras.split(",")
    }
    known = {
        folder: set(
            tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        )
        for folder in (".", "./server")
    }

    assert {folder for folder, *_ in asked} == set(known)
    assert {one for one in asked if one[1] not in known[one[0]]} == set()
