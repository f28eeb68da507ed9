"""The code of a user runs with the context variables of the caller, in whatever thread the facade runs it."""

import contextvars
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import lume_sync as lume
from lume_async._client import Client
from lume_async.testing import FakeAnswer, FakeRequest, fake_client, run_json
from lume_sync._bridge import offload

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def answer(request: FakeRequest) -> FakeAnswer:
    if request.path.startswith("/v1/uploads/"):
        body = request.body or b""
        stored = {"source_path": "upload://a", "bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        return FakeAnswer(201, stored)
    return FakeAnswer(200, run_json("run_1", "SUCCEEDED"))


def client_of(**options: Any) -> lume.Client:
    core: Client
    core, _ = fake_client(answer, **options)
    return lume.Client._wrap(core)


def items(seen: list[str], item: Any) -> Iterator[Any]:
    for _ in range(3):
        seen.append(variable.get())
        variable.set("the generator's own")  # for its next step, not for the caller
        yield item


def requests(seen: list[str]) -> None:
    with client_of().run_many(items(seen, lume.RunRequest("f:v1", "s", force_rerun=True))) as outcomes:
        assert len(list(outcomes)) == 3


def progress(seen: list[str]) -> None:
    with lume.progress(items(seen, lume.Outcome("run_1", error=ValueError()))) as snapshots:
        assert list(snapshots)[-1].done == 3


def data(seen: list[str]) -> None:
    client_of().upload(items(seen, b"id\n"))


def on_progress(seen: list[str]) -> None:
    client_of().upload(b"id\n", progress=lambda *_: seen.append(variable.get()))


def hook(seen: list[str]) -> None:
    client_of(hooks=[lambda _: seen.append(variable.get())]).run_status("run_1")


def key(seen: list[str]) -> None:
    def ask() -> str:
        seen.append(variable.get())
        return "key"

    client_of(api_key=offload(ask)).run_status("run_1")


@pytest.mark.parametrize("call", [requests, progress, data, on_progress, hook, key])
def test_it_sees_the_callers_variables(call: Callable[[list[str]], None]) -> None:
    seen: list[str] = []
    variable.set("the caller's")
    call(seen)
    assert seen[0] == "the caller's"
    assert set(seen[1:]) <= {"the generator's own", "the caller's"}
    assert variable.get() == "the caller's"
