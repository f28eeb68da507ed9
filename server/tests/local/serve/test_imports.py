"""The modules and classes that a server and its workers have once they are ready: every start pays for them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from local.flows import PEOPLE
from on_posix import posix_only

from lume_local._runs.workers import worker

READY = """
import gc, json, os, sys

def ready(*_):
    every, classes = [object], set()
    while every:
        new = set(type.__subclasses__(every.pop())) - classes
        classes |= new
        every += new
    records = [one for one in classes if "__attrs_attrs__" in vars(one) and one.__module__.startswith("lume_")]
    facts = {"modules": sorted(sys.modules), "records": len(records), "collects": gc.isenabled()}
    os.write(1, json.dumps(facts | {"frozen": gc.get_freeze_count()}).encode())
    os._exit(0)
"""
SERVE = f"""{READY}
import lume_cli, lume_cli._server_file
lume_cli._server_file.write = ready
sys.argv = ["lume", "serve", "--max-active", "1", *sys.argv[1:]]
lume_cli.main()
"""
WORKER = READY + worker._PROGRAM.replace("main(", "ready(")
HEAVY = {"apprise", "asyncssh", "boto3", "cryptography", "jwt", "obstore", "psycopg", "pyarrow", "watchfiles"}


def started(program: str, folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    assert facts["collects"], "garbage is collected again"
    assert facts["frozen"] > 10_000, "but not amid what stays for ever"
    return facts


def below(modules: list[str], *packages: str) -> list[str]:
    return [one for one in modules if one.startswith(tuple(f"{package}." for package in packages))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows/people.v1.toml").write_text(PEOPLE)
    return tmp_path


@posix_only
def test_a_server_has_only_what_it_uses(folder: Path) -> None:
    facts = started(SERVE, folder)
    modules, own = facts["modules"], below(facts["modules"], "lume_async", "lume_cli", "lume_local")

    assert not (HEAVY | {"duckdb", "fractions", "rich", "simplejson"}) & set(modules)
    assert not below(
        own, "lume_async._client", "lume_async._http", "lume_async._operations", "lume_async._wire"
    )
    assert not below(
        own, "lume_local._arrivals", "lume_local._messages", "lume_local._trials", "lume_local._worker"
    )
    assert not {"lume_cli._server_watch", "lume_local._mapping.target", "lume_local._sftp.session"} & set(own)
    assert len(own) < 195, "another room that every server imports"
    assert facts["records"] < 100, "attrs takes 0.5 ms for each class that it makes"


@posix_only
def test_arrivals_and_messages_come_with_their_file(folder: Path) -> None:
    (folder / "arrivals.toml").write_text("")

    own = started(SERVE, folder, "--arrivals", "arrivals.toml")["modules"]

    assert {"lume_local._arrivals.watcher", "lume_local._messages.messenger"} <= set(own)


@posix_only
def test_a_worker_has_only_what_it_uses(tmp_path: Path) -> None:
    facts = started(WORKER, tmp_path)
    modules, own = facts["modules"], below(facts["modules"], "lume_async", "lume_local")

    assert not (HEAVY | {"anyio", "asyncio", "http.client", "ssl"}) & set(modules)
    assert not below(own, "lume_local._http", "lume_local._runs", "lume_local._serve", "lume_local._shards")
    assert len(own) < 102, "another room that every worker imports"
    assert facts["records"] < 95
