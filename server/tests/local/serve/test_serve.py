"""Starting and ending a server: settings, mistakes, threads, silence."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import anyio
import pytest
from local.flows import PEOPLE, PEOPLE_CSV, write_flows
from local.processes import gone, own_workers
from local.wire import Wire

import lume_local
from lume_async.errors import ConfigurationError
from lume_local._shared.lock import Locked, held

pytestmark = pytest.mark.usefixtures("only_own_workers_count")

pytest_plugins = ["pytester"]


async def test_settings(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)
    async with lume_local.serve(api_key="my-key-for-tests") as server:
        assert server.base_url.startswith("http://127.0.0.1:")
        assert server.api_key == "my-key-for-tests"
        assert "my-key-for-tests" not in repr(server)
        wire = Wire(server.base_url, "my-key-for-tests")
        async with wire.session:
            assert (await wire.run("people:v1", "people.csv"))["status"] == "SUCCEEDED"
            (home / ".lume/in.csv").write_text(PEOPLE_CSV)
            assert (await wire.run("people:v1", ".lume/in.csv"))["status"] == "SUCCEEDED"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "printable ASCII"),
        ("k", "for 0.0.0.0 must have at least 16 characters: leave it out for a generated one"),
        ("x" * 15, "must have at least 16 characters"),
        ("clé" + "x" * 20, "printable ASCII"),
        (" " + "x" * 20, "printable ASCII"),
    ],
)
async def test_keys_that_could_be_guessed(home: Path, key: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        async with lume_local.serve(None, home / ".lume", host="0.0.0.0", api_key=key):
            pass
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize(
    ("folder", "mode", "warned"),
    [
        (".lume", 0o755, True),
        (".lume", 0o701, True),
        (".lume", 0o750, False),
        (".lume/state", 0o750, True),
    ],
)
async def test_a_data_folder_that_others_can_read_is_reported(
    home: Path, folder: str, mode: int, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    (home / folder).chmod(mode)
    async with lume_local.serve(None, home / ".lume"):
        pass
    expected = f"{home / folder} can be read by other users of this machine (mode {mode:o}): chmod 700"
    assert [line for line in caplog.messages if "can be read" in line] == (
        [f"{expected} {home / folder}"] if warned else []
    )


async def test_a_new_data_folder_is_for_nobody_else(home: Path) -> None:
    async with lume_local.serve(None, home / "new"):
        assert {(home / name).stat().st_mode & 0o777 for name in ("new", "new/state")} == {0o700}


async def test_keys_are_made_up_and_differ(home: Path) -> None:
    keys = set()
    for number in range(2):
        async with lume_local.serve(None, home / f"data{number}") as server:
            keys.add(server.api_key)
    assert len(keys) == 2
    assert all(len(key) >= 32 for key in keys)


MISTAKES = [
    ('flow = "f"\nversion = v1', ["bad.toml:2: is not TOML", "line 2", "write a text in quotes"]),
    (
        'flow = "f"\nversion = "v1"\n[columns.a]\nrequird = true',
        ["bad.toml:4: columns.a.requird", "did you mean"],
    ),
    ('flow = "f"\nversion = "v1"\n[columns.a]\nsql = "lowr(b)"', ["bad.toml:4: columns.a.sql", "lowr"]),
    (
        PEOPLE,
        ["bad.toml" if "bad.toml" > "people" else "people.v1.toml", "people:v1 is in", "raise its version"],
    ),
    ("\udcff", ["bad.toml", "can't be read"]),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES)
async def test_a_mistake_in_a_flow_file_is_one_clear_error(home: Path, text: str, words: list[str]) -> None:
    (home / "flows/bad.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigurationError) as caught:
        async with lume_local.serve(home / "flows", home / ".lume"):
            raise AssertionError("it must not start")
    for word in words:
        assert word in str(caught.value)
    assert await gone(own_workers())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"flows": "absent"}, "no flows folder"),
        ({"flows": __file__}, "is a file: pass its folder"),
        ({"max_active": 0}, "a whole number from 1 to 10,000"),
        ({"roots": []}, "roots is empty"),
        ({"host": "203.0.113.7"}, "can't listen on 203.0.113.7:0: this machine has no such address"),
        ({"host": "no.such.invalid"}, "can't listen on no.such.invalid:0: (Name|nodename)"),
        ({"engine": "abacus"}, "no engine 'abacus': expected pool, "),
        ({"engine": "pool://many"}, "number of processes"),
        ({"engine": "pool", "shard_bytes": 1}, "shard_bytes must be a whole number of at least 1,024"),
    ],
)
async def test_settings_that_make_no_sense(home: Path, options: dict[str, object], words: str) -> None:
    settings: dict[str, object] = {"flows": None, "data": home / ".lume", **options}
    with pytest.raises(ConfigurationError, match=words):
        async with lume_local.serve(**settings):  # type: ignore[arg-type]
            pass


async def test_a_port_in_use(home: Path) -> None:
    async with lume_local.serve(None, home / "a") as server:
        port = int(server.base_url.rpartition(":")[2])
        with pytest.raises(ConfigurationError, match="can't listen"):
            async with lume_local.serve(None, home / "b", port=port):
                pass


async def test_one_server_per_data_folder(home: Path) -> None:
    async with lume_local.serve(None, home / ".lume"):
        with pytest.raises(
            ConfigurationError, match=r"another server uses the data folder .* \(process \d+\): end it"
        ):
            async with lume_local.serve(None, home / ".lume"):
                pass
    async with lume_local.serve(None, home / ".lume"):
        pass


async def test_a_data_folder_whose_server_was_killed_while_it_started_a_process(home: Path) -> None:
    (state := home / ".lume/state").mkdir(parents=True, exist_ok=True)
    code = f"""
import os, pathlib, signal, time
from lume_local._shared.lock import held
with held(pathlib.Path({str(state / "lock")!r})):
    if os.fork() == 0:
        time.sleep(0.5)  # not yet at its `exec`
    else:
        os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await killed.wait() == -signal.SIGKILL
    with pytest.raises(Locked), held(state / "lock"):
        pass
    async with lume_local.serve(None, home / ".lume"):
        pass


@pytest.mark.parametrize("last", [None, os.getpid()], ids=["dead", "its id is another's now"])
async def test_who_asks_whether_a_server_runs_keeps_none_from_starting(home: Path, last: int | None) -> None:
    if last is None:
        (ended := subprocess.Popen([sys.executable, "-c", ""])).wait()
        last = ended.pid
    (state := home / ".lume/state").mkdir(parents=True, exist_ok=True)
    (state / "lock").write_text(str(last))
    reader = os.open(state / "lock", os.O_RDONLY)
    fcntl.flock(reader, fcntl.LOCK_SH)
    asyncio.get_running_loop().call_later(0.03, os.close, reader)
    async with lume_local.serve(None, home / ".lume"):
        pass


async def test_a_data_folder_that_is_a_file(home: Path) -> None:
    (home / "file").write_text("")
    with pytest.raises(ConfigurationError, match="can't be used"):
        async with lume_local.serve(None, home / "file"):
            pass


async def test_a_flow_version_may_change_as_long_as_nobody_has_used_it(home: Path) -> None:
    flow = home / "flows/people.v1.toml"
    for text in (PEOPLE, PEOPLE.replace("150", "120")):
        flow.write_text(text)
        async with lume_local.serve(home / "flows", home / ".lume", [home]) as server:
            wire = Wire(server.base_url, server.api_key)
            async with wire.session:
                if "120" in text:
                    await wire.run("people:v1", "people.csv")
    flow.write_text(PEOPLE)
    with pytest.raises(ConfigurationError, match=r"people\.v1\.toml: runs were made with another people:v1"):
        async with lume_local.serve(home / "flows", home / ".lume", [home]):
            pass


async def test_an_error_in_the_block_comes_through_and_everything_ends(home: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with lume_local.serve(home / "flows", home / ".lume") as server:
            raise ZeroDivisionError
    assert await gone(own_workers())
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.get(f"{server.base_url}/healthz")


def test_in_a_thread(home: Path) -> None:
    with lume_local.serve_in_thread(home / "flows", home / ".lume", [home]) as server:
        with urllib.request.urlopen(f"{server.base_url}/healthz") as answer:
            assert json.load(answer)["status"] == "ok"
        assert "key" not in repr(server)
        assert own_workers()
    assert own_workers() == []
    with (
        pytest.raises(ConfigurationError, match="no flows folder"),
        lume_local.serve_in_thread("absent", home / ".lume"),
    ):
        pass


def test_a_server_that_breaks_in_its_thread_says_why(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = threading.Event()

    @asynccontextmanager
    async def assembled(settings: object) -> AsyncIterator[tuple[str, None, None]]:
        async def fail() -> None:
            broken.set()
            raise ZeroDivisionError

        async with anyio.create_task_group() as tasks:
            yield "http://127.0.0.1:1", None, None
            tasks.start_soon(fail)
            await anyio.sleep_forever()

    monkeypatch.setattr("lume_local._serve.serve.assembled", assembled)
    with pytest.raises(ExceptionGroup) as raised, lume_local.serve_in_thread(home / "flows", home / ".lume"):
        pass
    assert broken.is_set()
    assert raised.group_contains(ZeroDivisionError)


def python(*arguments: str, cwd: Path) -> str:
    """Run Python with every warning an error; nothing may come out but what is printed."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_the_import_is_cheap(tmp_path: Path) -> None:
    code = "import lume_local, sys; print(*sorted({'duckdb', 'aiohttp', 'asyncio', 'sqlite3'} & set(sys.modules)))"
    assert python("-c", code, cwd=tmp_path).strip() == ""
    code = "import lume_local, sys; lume_local.serve; print('duckdb' in sys.modules)"
    assert python("-c", code, cwd=tmp_path).strip() == "False"


SILENT = """
import asyncio, aiohttp, lume_local

async def main():
    async with lume_local.serve() as server:
        async with aiohttp.ClientSession(server.base_url, headers={"lume-api-key": server.api_key}) as session:
            body = {"flow_version": "people:v1", "source_path": "people.csv"}
            async with session.post("/v1/runs", json=body) as answer:
                run, tag = await answer.json(), answer.headers["ETag"]
            while not run["finished_at"]:
                headers = {"Prefer": "wait=5", "If-None-Match": tag}
                async with session.get(f"/v1/runs/{run['id']}", headers=headers) as answer:
                    if answer.status == 200:
                        run, tag = await answer.json(), answer.headers["ETag"]
            print(run["status"])
    with lume_local.serve_in_thread() as server:
        pass

asyncio.run(main())
"""


@pytest.mark.thorough
def test_a_whole_life_makes_no_noise(tmp_path: Path) -> None:
    write_flows(tmp_path / "flows")
    (tmp_path / "people.csv").write_text(PEOPLE_CSV)
    # Debug mode reports callbacks that take long on a busy machine; that is no warning about this code.
    code = "import logging; logging.getLogger('asyncio').setLevel(logging.ERROR)\n" + SILENT
    assert python("-c", code, cwd=tmp_path) == "SUCCEEDED\n"


@pytest.mark.parametrize(
    ("options", "conftest"),
    [
        ((), ""),
        (("-p", "lume_local.pytest_plugin"), ""),
        ((), 'pytest_plugins = ["lume_local.pytest_plugin"]'),
    ],
    ids=["found", "by option", "by conftest"],
)
def test_the_pytest_plugin(pytester: pytest.Pytester, options: tuple[str, ...], conftest: str) -> None:
    write_flows(pytester.path / "flows")
    pytester.makeconftest(conftest)
    pytester.makepyfile("""
        import urllib.request

        def test_server(lume_server, tmp_path):
            assert urllib.request.urlopen(lume_server.base_url + "/healthz").status == 200
    """)
    result = pytester.runpytest(*options, "-p", "no:asyncio")
    result.assert_outcomes(passed=1)


@pytest.mark.thorough
def test_every_test_of_a_process_has_its_own_server_by_the_module_level_functions(
    pytester: pytest.Pytester,
) -> None:
    """As documented: `monkeypatch.setenv`, then code that uses the functions of either package."""
    write_flows(pytester.path / "flows")
    pytester.makepyfile("""
        import asyncio

        import lume_async
        import lume_sync
        import pytest

        @pytest.fixture(autouse=True)
        def environment(lume_server, monkeypatch, tmp_path):
            monkeypatch.setenv("LUME_API_KEY", lume_server.api_key)
            monkeypatch.setenv("LUME_BASE_URL", lume_server.base_url)
            (tmp_path / "in.csv").write_text("id,Email,Age\\n1,ann@example.org,31\\n")

        @pytest.mark.parametrize("time", range(2))
        def test_sync(time, lume_server):
            assert lume_sync.default_client().base_url == lume_server.base_url
            assert lume_sync.run("people:v1", "in.csv").wait(timeout=60).succeeded

        @pytest.mark.parametrize("time", range(2))
        def test_async(time, lume_server):
            async def work():
                run = await lume_async.run("people:v1", "in.csv")
                return await run.wait(timeout=60)

            assert asyncio.run(work()).succeeded
    """)
    pytester.runpytest("-p", "no:asyncio").assert_outcomes(passed=4)


def test_the_pytest_plugin_costs_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    """pytest loads it before coverage is measured: what it imported would look as if never run.

    So it imports nothing but what says where the public names are.
    """
    code = "import sys, pytest; before = set(sys.modules); import lume_local.pytest_plugin; "
    code += "print(*sorted(set(sys.modules) - before))"
    names = {"lume_async", "lume_async._base", "lume_async._base.lazy", "lume_async._exports"}
    assert set(python("-c", code, cwd=tmp_path).split()) == {
        *names,
        *("lume_local", "lume_local._exports", "lume_local.pytest_plugin"),
    }
