"""The documentation does what it says: every page is worked through from top to bottom, against a real server.

What a block is, its fence says:

    ```python                      runs; the blocks of a page share one namespace, `await` may stand at the top
    ```console                     each line that begins with `$` runs in a shell; the others are its output
    ```output                      what the block above printed
    ```toml title="flows/x.toml"   any block with a title is written to that file, and not run

`...` in an output stands for anything. Everything else (`sh`, `text`, `toml` …) is only shown.
"""

import ast
import asyncio
import doctest
import gzip
import inspect
import logging
import os
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import moto_server
import postgres_server
import pytest
import sftp_server
from cli.in_shells import put_into

import lume_async
import lume_local
import lume_sync

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
README = ROOT / "README.md"
SERVER_README = ROOT / "server" / "README.md"
READMES = [README, SERVER_README, ROOT / "airflow" / "README.md"]
FENCE = re.compile(r'^( *)```(\w+)(?: +title="([^"]+)")?[^\n]*\n(.*?)^\1```$', re.MULTILINE | re.DOTALL)
RUN = ("python", "console", "output")
BATCHES, ROWS = 4, 100
PENDING = {"what-happens-when.md"}
"""Pages that are linked to and still being written."""


@dataclass(frozen=True)
class Block:
    kind: str
    title: str | None
    text: str
    line: int


def blocks_of(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        indent, kind, title, body = found.groups()
        if title or kind in RUN:
            yield Block(
                kind, title, textwrap.dedent(body) if indent else body, text.count("\n", 0, found.start()) + 1
            )


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT if page in READMES else DOCS))


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Iterator[Path]:
    """The current folder: flows, a customer list, and the same list in a few parts; a server that knows them."""
    shutil.copytree(ROOT / "examples" / "flows", tmp_path / "flows")
    shutil.copy(ROOT / "examples" / "data" / "customers.csv", tmp_path)
    (tmp_path / "batches").mkdir()
    header, *rows = (tmp_path / "customers.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    for n in range(BATCHES):
        part = [header, *rows[n * ROWS : (n + 1) * ROWS]]
        (tmp_path / "batches" / f"{n + 1:02}.csv").write_text("".join(part), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with (
        patch.dict(os.environ),  # pages set variables of their own
        lume_local.serve_in_thread(
            flows=tmp_path / "flows", data=tmp_path / ".served", roots=[tmp_path]
        ) as server,
    ):
        monkeypatch.setenv("LUME_API_KEY", server.api_key)
        monkeypatch.setenv("LUME_BASE_URL", server.base_url)
        monkeypatch.setenv("LUME_WEBHOOK_SECRET", "a secret of the docs")
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
        monkeypatch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(ROOT)]))
        loggers = [logging.getLogger(name) for name in ("lume", "lume.http", "lume.runs")]
        before = [(logger.level, logger.handlers[:]) for logger in loggers]
        yield tmp_path
        lume_sync.close()
        for logger, (level, handlers) in zip(loggers, before, strict=True):
            logger.setLevel(level)  # a page may show what to do with the log
            logger.handlers[:] = handlers


class Reader:
    """Somebody who does what a page says."""

    def __init__(
        self, page: Path, runner: asyncio.Runner, capsys: "pytest.CaptureFixture[str]", commands: Path
    ) -> None:
        self._page = page
        self._lume = put_into(commands)
        self._runner = runner
        self._capsys = capsys
        self._names: dict[str, object] = {"__name__": "docs"}
        self._printed = ""

    def follow(self, block: Block) -> None:
        if block.title:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(block.text, encoding="utf-8")
        elif block.kind == "python":
            self._python(block)
        elif block.kind == "console":
            self._console(block)
        else:
            self._compare(block, block.text, self._printed)

    def _python(self, block: Block) -> None:
        # Line breaks first, so that a traceback shows the line of the page.
        source = "\n" * block.line + block.text
        code = compile(source, str(self._page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        self._capsys.readouterr()
        outcome = eval(code, self._names)
        if inspect.iscoroutine(outcome):
            self._runner.run(outcome)
        self._printed = self._capsys.readouterr().out

    def _console(self, block: Block) -> None:
        steps = re.split(r"^\$ ", block.text.replace("\\\n", ""), flags=re.MULTILINE)[1:]
        commands = [step.partition("\n")[0] for step in steps]
        script = "".join(f"{command}\n_code=$?; echo '--' $_code; (exit $_code)\n" for command in commands)
        done = subprocess.run(
            ["bash", "-c", script],
            env=os.environ | self._lume.variables,
            pass_fds=self._lume.inherited,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=250,
        )
        parts = re.split(r"^-- (\d+)\n", done.stdout, flags=re.MULTILINE)
        outputs, codes = parts[0::2], parts[1::2]
        assert len(codes) == len(commands), done.stdout
        for n, step in enumerate(steps):
            told = codes[n] == "0" or "echo $?" in "".join(commands[n + 1 : n + 2])
            assert told, f"{self._page}:{block.line}: `{commands[n]}` ended with {codes[n]}:\n{outputs[n]}"
            if wanted := step.partition("\n")[2].strip("\n"):
                self._compare(block, wanted + "\n", outputs[n])

    def _compare(self, block: Block, wanted: str, got: str) -> None:
        same = doctest.OutputChecker().check_output(
            wanted, got, doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
        )
        assert same, f"{self._page}:{block.line} promises\n{wanted}\nbut this came:\n{got}"


@contextmanager
def a_postgresql(monkeypatch) -> Iterator[None]:
    with postgres_server.running() as server:
        monkeypatch.setenv("WAREHOUSE_URL", server.url)
        yield


@contextmanager
def an_object_store(monkeypatch) -> Iterator[None]:
    with moto_server.running() as bucket:
        moto_server.in_environment(bucket, monkeypatch)
        bucket.empty()
        yield


@contextmanager
def an_sftp_server(monkeypatch) -> Iterator[None]:
    with sftp_server.running() as site:
        site.put("2024-05-01.csv.gz", gzip.compress(b"No,Amount\n1,12.50\n2,free\n"))
        site.put("2024-05-02.csv", b"No,Amount\n3,1.50\n")
        monkeypatch.setenv("ACME_ROOT", site.root)
        yield


NEEDED = {
    "guides/postgresql.md": a_postgresql,
    "guides/object-stores.md": an_object_store,
    "guides/sftp.md": an_sftp_server,
}
"""What a page needs beside files: it is in the environment."""
LONG = {
    "cookbook.md",
    "guides/arrivals.md",
    "guides/backfill.md",
    "guides/current-table.md",
    "guides/delta.md",
    "guides/engines.md",
    "guides/forget-a-person.md",
    "guides/iceberg.md",
    "guides/map-a-sample.md",
    "guides/messages.md",
    "guides/object-stores.md",
    "guides/operate.md",
    "guides/partial-failures.md",
    "guides/postgresql.md",
    "guides/sftp.md",
    "guides/sources.md",
    "guides/sqlite.md",
    "guides/test-your-own-code.md",
    "guides/webhooks.md",
    "guides/write-a-flow-version.md",
    "guides/write-a-server.md",
    "reference/cli.md",
}
"""Pages that take more than a second: of the thorough run. The first pages of a reader are never here."""


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=[pytest.mark.thorough] if ids(page) in LONG else [])
        for page in [SERVER_README, *PAGES]
        if list(blocks_of(page))
    ],
    ids=ids,
)
def test_the_page_works_as_it_stands(page, folder, capsys, monkeypatch, tmp_path_factory) -> None:
    needed = NEEDED.get(ids(page))
    with needed(monkeypatch) if needed else nullcontext(), asyncio.Runner() as runner:
        reader = Reader(page, runner, capsys, tmp_path_factory.mktemp("commands"))
        try:
            for block in blocks_of(page):
                reader.follow(block)
        finally:
            runner.run(lume_async.aclose())


def test_links_lead_somewhere() -> None:
    for page in [*READMES, *PAGES]:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", text):
            if "://" not in target and Path(target).name not in PENDING:
                assert (page.parent / target).exists(), f"{page}: {target} is not there"


def test_every_error_has_its_place_in_the_reference() -> None:
    text = (DOCS / "reference" / "errors.md").read_text(encoding="utf-8")
    errors = [name for name in lume_async.__all__ if name.endswith("Error")]

    assert [name for name in errors if f"\n## {name}\n" not in text] == []
    assert [name for name in errors if f"[`{name}`](#{name.lower()}) |" not in text] == []


@pytest.mark.parametrize("index", ["mkdocs.yml", "docs/llms.txt"])
def test_every_page_is_listed(index) -> None:
    text = (ROOT / index).read_text(encoding="utf-8")
    assert [page for page in PAGES if ids(page) not in text] == []
