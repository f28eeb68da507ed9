"""The generated facade: up to date, the same as the core's, and its values are its own."""

import copy
import inspect
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sync.conftest import ROOT

import lume_async
import lume_sync
import lume_sync.errors
import lume_sync.models
import lume_sync.webhooks
from lume_async.testing import FakeAnswer, FakeRequest, FakeTransport, fake_client, run_json
from lume_sync._hops.iteration import _Source

LIVE = ("Client", "Items", "LumeRun", "Monitor", "Rows")
TWINS = {"aclose": "close", "__aenter__": "__enter__", "__aexit__": "__exit__"}
TWINS |= {"__aiter__": "__iter__", "__anext__": "__next__"}
FUNCTIONS = sorted(name for name in lume_async.__all__ if inspect.isfunction(getattr(lume_async, name)))


def facade(
    answers: Callable[[FakeRequest], FakeAnswer] | list[Any], **options: Any
) -> tuple[lume_sync.Client, FakeTransport]:
    core, transport = fake_client(answers, **options)
    return lume_sync.Client._wrap(core), transport


def always(status: str, **fields: Any) -> Callable[[FakeRequest], FakeAnswer]:
    return lambda request: FakeAnswer(200, run_json(request.path.rpartition("/")[2], status, **fields))


# ── the same API ───────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.thorough
def test_the_generated_files_are_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "tools" / "generate_sync.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def functions() -> Iterator[tuple[str, Any, Any]]:
    for name in FUNCTIONS:
        yield name, getattr(lume_async, name), getattr(lume_sync, TWINS.get(name, name))
    for owner in LIVE:
        core, twin = getattr(lume_async, owner), getattr(lume_sync, owner)
        yield owner, core, twin
        for name, member in members(core).items():
            public = not name.startswith("_") or (name.endswith("__") and name != "__init__")
            if name == "__iter__":
                continue  # says that an asynchronous iterator has none
            if public and (isinstance(member, property) or inspect.isfunction(member)):
                yield f"{owner}.{name}", member, members(twin)[TWINS.get(name, name)]


def members(owner: type) -> dict[str, Any]:
    """What the class has of its own and from the classes of its package."""
    found: dict[str, Any] = {}
    for each in reversed(owner.__mro__):
        if each.__module__.startswith(("lume_async", "lume_sync")):
            found |= vars(each)
    return found


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    given = inspect.signature(function).parameters.values()
    return [(parameter.name, parameter.kind, parameter.default) for parameter in given]


EXAMPLES = "\n\nExamples:"


@pytest.mark.parametrize(("name", "core", "twin"), [pytest.param(*case, id=case[0]) for case in functions()])
def test_signatures_and_docstrings_are_the_same(name: str, core: Any, twin: Any) -> None:
    if isinstance(core, property):
        core, twin = core.fget, twin.fget
    # The examples, which stand at the end, differ: tests/test_docstring_examples.py runs them.
    assert (inspect.getdoc(core) or "").split(EXAMPLES)[0] == (inspect.getdoc(twin) or "").split(EXAMPLES)[0]
    assert not inspect.iscoroutinefunction(twin)
    if name in ("Items", "LumeRun", "Monitor", "Rows"):
        return  # users do not construct them
    assert parameters(core) == parameters(twin)
    if not name.rpartition(".")[2].startswith("__a"):
        assert all(parameter.annotation for parameter in inspect.signature(twin).parameters.values())


# ── its own values ──────────────────────────────────────────────────────────────────────────────────────────────


def test_runs_are_this_packages_own_wherever_they_come_from() -> None:
    client, _ = facade(always("SUCCEEDED"))
    run = client.run_status("a")
    assert type(run) is lume_sync.LumeRun
    assert run.wait() is run
    found: list[Any] = [
        client.attach("a"),
        client.wait_for_run_completion("a"),
        *client.watch("a"),
        *run.watch(),
    ]
    found += [outcome.result() for outcome in client.as_completed([run, "b"])]
    found += [outcome.result() for outcome in client.wait_all(["a", run])]
    with client.monitor() as monitor:
        found.append(monitor.add(run))
        found += [next(monitor).run]
        assert iter(monitor) is iter(monitor)
    assert {type(value) for value in found} == {lume_sync.LumeRun}


def test_what_is_ready_shares_a_hop(monkeypatch: pytest.MonkeyPatch) -> None:
    hops = 0
    step = _Source.step

    async def counted(source: Any) -> list[Any]:
        nonlocal hops
        hops += 1
        return await step(source)

    monkeypatch.setattr(_Source, "step", counted)
    page = {"items": [run_json(f"run_{n}", "SUCCEEDED") for n in range(100)], "next_cursor": None}
    client, _ = facade([FakeAnswer(200, page)])
    assert len(list(client.list_runs())) == 100
    assert hops == 2  # the page, and the end

    client, _ = facade(always("SUCCEEDED"))
    hops = 0
    assert len(list(client.as_completed(["a"] * 100))) == 100
    assert hops == 2


def test_runs_are_equal_and_hash_by_id() -> None:
    client, _ = facade(always("SUCCEEDED"))
    assert client.attach("a") == client.run_status("a")
    assert client.attach("a") != client.attach("b")
    assert client.attach("a") != "a"
    assert len({client.attach("a"), client.run_status("a")}) == 1
    assert repr(client.attach("a")) == "LumeRun('a', status=None)"


@pytest.mark.parametrize(
    "act",
    [
        lambda client: client.attach("a").wait(),
        lambda client: client.run_status("a").raise_for_status(),
    ],
)
def test_the_run_of_an_error_is_this_packages_own(act: Callable[[lume_sync.Client], Any]) -> None:
    client, _ = facade(always("FAILED"))
    with pytest.raises(lume_sync.RunFailedError) as caught:
        act(client)
    assert type(caught.value.run) is lume_sync.LumeRun
    assert caught.value.run.status == "FAILED"
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again.run) is lume_sync.LumeRun


def test_so_is_the_run_of_an_error_in_an_outcome_and_of_an_iteration() -> None:
    client, _ = facade(always("TRANSFORMING"))
    (outcome,) = client.wait_all(["a"], timeout=0)
    assert isinstance(outcome.error, lume_sync.RunTimeoutError)
    assert type(outcome.error.run) is lume_sync.LumeRun
    watching = client.watch("a", timeout=0.5)
    with pytest.raises(lume_sync.RunTimeoutError) as caught:
        list(watching)
    assert type(caught.value.run) is lume_sync.LumeRun


@pytest.mark.parametrize(
    "act",
    [
        lambda client: client.run("", ""),
        lambda client: client.run_status("a"),
        lambda client: client.attach("a").refresh(),
        lambda client: client.attach("?"),
        lambda client: next(client.watch("a")),
        lambda client: next(client.list_runs()),
    ],
)
def test_one_frame_of_this_package_is_between_the_users_line_and_the_core(
    act: Callable[[lume_sync.Client], Any],
) -> None:
    client, _ = facade(lambda request: FakeAnswer(403))
    with pytest.raises(lume_sync.ApiError) as caught:
        act(client)
    error: BaseException = caught.value
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    assert sum("/lume_sync/" in name for name in files) == 1, files


def test_the_module_level_functions_add_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    client, _ = facade(lambda request: FakeAnswer(403))
    monkeypatch.setitem(sys.modules["lume_sync._api"]._default, "client", client)  # type: ignore[attr-defined]
    with pytest.raises(lume_sync.AuthenticationError) as caught:
        lume_sync.run_status("a")
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert sum("/lume_sync/" in name for name in files) == 1, files


def test_an_unpickled_run_works_through_this_packages_default_client(monkeypatch: pytest.MonkeyPatch) -> None:
    client, transport = facade(always("SUCCEEDED"))
    run = client.run_status("a")
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(run, protocol))
        assert (type(again), again, again.status) == (lume_sync.LumeRun, run, "SUCCEEDED")
    assert copy.deepcopy(run) == run
    with monkeypatch.context() as patched:
        patched.setattr(sys.modules["lume_sync._api"], "_default", {})
        patched.delenv("LUME_API_KEY", raising=False)
        patched.delenv("LUME_BASE_URL", raising=False)
        with pytest.raises(lume_sync.ConfigurationError):
            again.refresh()
        sys.modules["lume_sync._api"]._default["client"] = client  # type: ignore[attr-defined]
        before = len(transport.requests)
        again.refresh()
    assert len(transport.requests) == before + 1


def test_a_client_is_not_pickled_and_shows_no_key() -> None:
    client = lume_sync.Client("canary-key", base_url="http://lume.test")
    assert repr(client) == "Client('http://lume.test')"
    with pytest.raises(TypeError, match="can't be pickled"):
        pickle.dumps(client)
    assert repr(lume_sync.Client.__new__(lume_sync.Client)) == "<Client, unfinished>"


def test_a_failed_constructor_shows_no_key_among_locals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUME_BASE_URL", raising=False)
    client, _ = facade(always("SUCCEEDED"))
    for act in (
        lambda secret: lume_sync.Client(secret),
        lambda secret: lume_sync.init(secret),
        lambda secret: lume_sync.Client("k", headers={"X-Gateway-Key": secret}),
        lambda secret: lume_sync.init("k", headers={"X-Gateway-Key": secret}),
        lambda secret: client.with_options(headers={"X-Gateway-Key": secret, "Host": ""}),
    ):
        with pytest.raises(lume_sync.ConfigurationError) as caught:
            act("canary-" + "key")
        stack = traceback.StackSummary.extract(
            traceback.walk_tb(caught.value.__traceback__), capture_locals=True
        )
        ours = [frame for frame in stack if frame.filename != __file__]
        assert ours
        assert "canary-key" not in "".join(traceback.StackSummary.from_list(ours).format())


def test_a_client_is_a_context_manager() -> None:
    client, transport = facade(always("SUCCEEDED"))
    with client as entered:
        assert entered is client
        assert not transport.closed
    assert transport.closed
    with pytest.raises(lume_sync.ClientClosedError):
        client.run_status("a")


def test_a_block_of_a_client_may_be_within_another_of_it() -> None:
    client, transport = facade(always("SUCCEEDED"))
    with client:
        with client:
            assert client.run_status("a").succeeded
        assert transport.closed, "as with lume_async"
    with client:
        pass


def test_a_monitor_that_is_entered_twice_says_so_and_its_block_ends() -> None:
    client, _ = facade(always("TRANSFORMING"))
    with pytest.raises(RuntimeError, match="entered only once"), client.monitor() as monitor:
        monitor.add("a")
        assert next(monitor).run.id == "a"
        with monitor:
            pass
    assert list(monitor) == []


def test_leaving_a_loop_over_a_monitor_loses_no_event() -> None:
    client, _ = facade(always("SUCCEEDED"))
    names = [f"run_{number}" for number in range(50)]
    with client.monitor() as monitor:
        for name in names:
            monitor.add(name)
        seen = []
        while len(seen) < 50:
            for event in monitor:
                seen.append(event.run.id)
                break
    assert sorted(seen) == sorted(names)
    assert list(monitor) == []


def test_run_many_pulls_requests_in_a_thread_of_their_own() -> None:
    threads = set()

    def requests() -> Iterator[lume_sync.RunRequest]:
        for number in range(5):
            threads.add(threading.current_thread().name)
            yield lume_sync.RunRequest("f:v1", f"source-{number}")

    def answer(request: FakeRequest) -> FakeAnswer:
        if request.method == "POST":
            return FakeAnswer(201, run_json(request.json()["source_path"], "CREATED"))
        return always("SUCCEEDED")(request)

    client, _ = facade(answer)
    outcomes = list(client.run_many(requests()))
    assert sorted(str(outcome.run_id) for outcome in outcomes) == [f"source-{number}" for number in range(5)]
    assert threads == {"lume-worker"}
    with pytest.raises(TypeError):
        client.run_many(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("many", ["run_many", "as_completed", "wait_all"])
@pytest.mark.timeout(30)
def test_a_hook_that_ends_the_program_ends_many_runs(many: str, kind: type[BaseException]) -> None:
    def hook(event: object) -> None:
        if isinstance(event, lume_sync.RequestFinished) and event.operation.startswith(("POST", "GET")):
            seen.append(event)
            if len(seen) == 2:
                raise kind("enough")

    def answer(request: FakeRequest) -> FakeAnswer:
        name = request.json()["source_path"] if request.method == "POST" else request.path.rpartition("/")[2]
        return FakeAnswer(200, run_json(name, "SUCCEEDED"))

    client, _ = facade(answer, hooks=[hook])
    seen: list[object] = []
    given: list[Any] = ["a", "b", "c"]
    if many == "run_many":
        given = [lume_sync.RunRequest("f:v1", source) for source in given]
    with pytest.raises(kind, match="enough"):
        list(getattr(client, many)(given))
    assert client.run_status("a").succeeded
