"""Every public function shows in its docstring how it is called, and the example runs against a real server."""

import asyncio
import contextlib
import doctest
import importlib
import inspect
import io
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest

import lume_async
import lume_local
import lume_sync
from lume_async.testing import sign_webhook

PACKAGES = [lume_async, lume_sync]
MODULES = ("", ".errors", ".models", ".testing", ".webhooks")
FLOW = Path(__file__).parents[1] / "examples" / "flows" / "customer_cleaner.v1.toml"
CUSTOMERS = """Customer ID,Name,Email,Signup,Country,Balance
1,Ann Lee,ann@example.org,2021-08-25,US,10
2,Bob Ray,bob at example,2021-08-26,FR,20
3,Cyd Fox,cyd@example.org,2021-08-27,DE,30
4,Dan Roe,dan@example.org,2021-08-28,GB,40
"""
SOURCES = ("customers", "january", "february", "march", "may", "june", "july", "august")
"""Each of the months is submitted by one example: a server processes a source once."""

CALLED_BY_THE_CLIENT = {
    *("FakeTransport.aclose", "FakeTransport.request", "Transport.aclose", "Transport.request"),
    *("Receiver.begin", "Receiver.flush", "Receiver.write"),
}
SHOWN = {
    *("Client", "Items", "LumeRun", "Monitor", "Paged", "Progress", "Rows"),
    *("Backoff", "Outcome", "Retry", "RunMetadata", "RunRequest", "RunStatus", "Summary"),
    *("ApiError", "DuplicateRunError", "RunFailedError", "RunTimeoutError"),
    *("FakeAnswer", "FakeClock", "FakeRequest", "FakeTransport", "Once"),
}
"""The classes that users create, iterate over or catch; the others only hold what the server has sent."""


def documented(package: ModuleType) -> dict[str, Any]:
    """Return the public functions, classes and methods of a package, by their names."""
    found: dict[str, Any] = {}
    for module in (importlib.import_module(package.__name__ + name) for name in MODULES):
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isfunction(thing):
                found[name] = thing
            elif inspect.isclass(thing) and thing.__module__.startswith("lume_"):
                found[name] = thing
                for method, function in inspect.getmembers(thing, inspect.isroutine):
                    if not method.startswith("_") and is_ours(function):
                        found[f"{name}.{method}"] = function
    return found


def is_ours(function: Any) -> bool:
    is_python = inspect.isfunction(function) or inspect.ismethod(function)
    return is_python and str(function.__module__).startswith("lume_")


def examples(thing: Any) -> list[doctest.Example]:
    return doctest.DocTestParser().get_examples(inspect.getdoc(thing) or "")


ASYNC, SYNC = documented(lume_async), documented(lume_sync)
CASES = [
    pytest.param(package, shown, id=f"{package.__name__}-{name}")
    for package, things in ((lume_async, ASYNC), (lume_sync, SYNC))
    for name, thing in things.items()
    if (shown := examples(thing)) and (package is lume_async or thing is not ASYNC.get(name))
]


@pytest.mark.parametrize("things", [ASYNC, SYNC], ids=["lume_async", "lume_sync"])
def test_every_public_function_has_an_example(things: dict[str, Any]) -> None:
    needed = {name for name, thing in things.items() if not inspect.isclass(thing)} | (SHOWN & things.keys())
    assert {name for name in needed - CALLED_BY_THE_CLIENT if not examples(things[name])} == set()


def test_an_example_of_lume_sync_names_no_other_package() -> None:
    sources = {case.id: "".join(part.source for part in case.values[1]) for case in CASES}
    assert [name for name in sources if name.startswith("lume_sync") and "lume_async" in sources[name]] == []
    assert any("lume_sync" in source for source in sources.values())


class Shell:
    """A Python shell in which `await` may stand at the top, as in `python -m asyncio`."""

    def __init__(self, package: ModuleType, home: Path, server: lume_local.ThreadedServer) -> None:
        self.package, self._home, self._server = package, home, server
        self._runner = asyncio.Runner() if package is lume_async else None
        self._names: dict[str, Any] = {package.__name__: package}
        for module in (importlib.import_module(package.__name__ + name) for name in MODULES):
            names = [name for name in module.__all__ if module is not package or name[0].isupper()]
            self._names |= {name: getattr(module, name) for name in names}

    def run(self, shown: list[doctest.Example], *, keep: bool = False, **more: Any) -> list[str]:
        """Run an example; return what its statements print. `keep` its names for the next ones."""
        names = self._names if keep else self._names | more
        return [self._execute(part.source, names) for part in shown]

    @contextlib.contextmanager
    def in_use(self) -> Iterator[pytest.MonkeyPatch]:
        """Stand in its folder, with the environment for its server."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self._home)
            patch.setenv("LUME_API_KEY", self._server.api_key)
            patch.setenv("LUME_BASE_URL", self._server.base_url)
            yield patch

    def close(self) -> None:
        if self._runner is not None:
            self._runner.close()

    def _execute(self, source: str, names: dict[str, Any]) -> str:
        code = compile(source, "an example", "single", PyCF_ALLOW_TOP_LEVEL_AWAIT)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            waiting = eval(code, names)
            if inspect.iscoroutine(waiting):
                assert self._runner is not None, "an example of lume_sync has to wait"
                self._runner.run(waiting)
        return printed.getvalue()


BEGIN = """
>>> client = Client()
>>> run = await client.run("customer_cleaner:v1", "customers.csv")
>>> runs = [await run.wait()]
>>> outcomes = await client.wait_all(runs)
"""
END = """
>>> await client.aclose()
>>> await lume_async.aclose()
"""


def parsed(text: str, package: ModuleType) -> list[doctest.Example]:
    if package is lume_sync:
        text = text.replace("await ", "").replace("aclose", "close").replace("lume_async", "lume_sync")
    return doctest.DocTestParser().get_examples(text)


@pytest.fixture(scope="module")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[ModuleType, Shell]]:
    """A shell for each package; its folder has sources and flows, and its server has rejected one row of a run."""
    with contextlib.ExitStack() as stack:
        yield {
            package: stack.enter_context(opened(package, tmp_path_factory.mktemp("home")))
            for package in PACKAGES
        }


@contextlib.contextmanager
def opened(package: ModuleType, home: Path) -> Iterator[Shell]:
    for name in SOURCES:
        (home / f"{name}.csv").write_text(CUSTOMERS)
    (home / "flows").mkdir()
    for version in ("v1", "v2"):
        flow = FLOW.read_text().replace('"v1"', f'"{version}"')
        (home / "flows" / f"customer_cleaner.{version}.toml").write_text(flow)
    with lume_local.serve_in_thread(home / "flows", home / ".lume", [home], max_active=1) as server:
        shell = Shell(package, home, server)
        with shell.in_use():
            shell.run(parsed(BEGIN, package), keep=True)
        yield shell
        with shell.in_use():
            shell.run(parsed(END, package), keep=True)
        shell.close()


@pytest.mark.parametrize(("package", "shown"), CASES)
def test_an_example_does_what_it_shows(
    package: ModuleType, shown: list[doctest.Example], shells: dict[ModuleType, Shell]
) -> None:
    body = orjson.dumps({"event": "run.finished", "run_id": "run_1", "status": "SUCCEEDED"})
    headers = sign_webhook(body, "the secret")
    with shells[package].in_use() as monkeypatch:
        try:
            printed = shells[package].run(shown, monkeypatch=monkeypatch, body=body, headers=headers)
        except lume_async.MissingLibraryError as missing:
            pytest.skip(str(missing))
    for part, text in zip(shown, printed, strict=True):
        if part.want:
            assert text == part.want
