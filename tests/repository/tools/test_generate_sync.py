"""The generator, on small sources of its own: what it copies, what it wraps, what it refuses."""

import sys
import textwrap
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[3] / "tools"
sys.path.insert(0, str(TOOLS))  # the generator is a script beside its parts, not a package

import generate_sync  # noqa: E402
import sync_modules  # noqa: E402
import sync_source  # noqa: E402
from sync_source import Refused, Source  # noqa: E402

CLIENT = '''
"""Client."""

from collections.abc import AsyncIterator, Iterable
from typing import Any, Self

from lume_async._config import LIMIT, Secret
from lume_async._run import ApiKey, LumeRun
from lume_async.models import Outcome, RunEvent


class Client:
    """A client."""

    _private = 1

{methods}
'''


def generate(tmp_path: Path, methods: str, *, public: str = "Outcome RunEvent ApiKey RunRequest") -> str:
    """The generated twin of a client with these methods."""
    core = tmp_path / "lume_async"
    core.mkdir(exist_ok=True)
    (core / "_config.py").write_text("LIMIT = 32 * 1024\nSecret = str\n")
    path = core / "_client.py"
    path.write_text(CLIENT.replace("{methods}", textwrap.indent(textwrap.dedent(methods).strip(), "    ")))
    source = Source(tmp_path, "_client.py", set(public.split()))
    (node,) = (item for item in source.tree.body if getattr(item, "name", "") == "Client")
    text = sync_modules.live_class(source, node)  # type: ignore[arg-type]
    return generate_sync.formatted(generate_sync.ROOT / "lume_sync" / "_client.py", text)


def test_signatures_and_docstrings_are_copied_as_text(tmp_path: Path) -> None:
    text = generate(
        tmp_path,
        """
        async def act(self, only: int, /, a: str = 'x', *rest: int, key: "dict[str, Any]" = {},  # why not
                      **more: Any) -> int:
            '''Does it.

            Ünïcode, too.
            '''
            return await self.hidden()
        """,
    )
    assert 'key: "dict[str, Any]" = {},  # why not' in text
    assert "def act(" in text
    assert "only: int,\n        /," in text
    assert '"""Does it.\n\n        Ünïcode, too.\n        """' in text
    assert "call(self._core.act, only, a, *rest, key=key, **more).result()" in text
    assert "hidden" not in text


def test_examples_wait_for_nothing(tmp_path: Path) -> None:
    text = generate(
        tmp_path,
        """
        async def act(self) -> None:
            '''Do it.

            Examples:
                >>> runs = [run async for run in lume_async.act(await client.run("a"))]
                >>> async with client.act() as found:
                ...     first = await anext(found)
                >>> await client.aclose()
            '''
            return await self.hidden()
        """,
    )
    assert '>>> runs = list(lume_sync.act(client.run("a")))\n' in text
    assert ">>> with client.act() as found:\n            ...     first = next(found)\n" in text
    assert ">>> client.close()\n" in text


def several(tmp_path: Path, signatures: list[str]) -> str:
    """The twin of a client with the methods `act0`, `act1` …"""
    bodies = (f"{one}:\n    '''Acts.'''\n    return 1" for one in signatures)
    return generate(tmp_path, "\n\n".join(bodies))


def test_the_return_annotation_picks_the_wrapping(tmp_path: Path) -> None:
    wrappings = {
        "int": "return call({}).result()",
        "None": "call({}).result()",
        "LumeRun": "return LumeRun._wrap(call({}).result())",
        "'LumeRun'": "return LumeRun._wrap(call({}).result())",
        "list[LumeRun]": "return in_list(LumeRun._wrap)(call({}).result())",
        "list[Outcome[LumeRun]]": "in_list(in_outcome(LumeRun._wrap))(call({}).result())",
        "Self": "call({}).result()\n        return self",
    }
    text = several(tmp_path, [f"async def act{n}(self) -> {one}" for n, one in enumerate(wrappings)])
    for n, expected in enumerate(wrappings.values()):
        assert expected.format(f"self._core.act{n}") in text
    assert "async" not in text.replace("lume_async", "")


def test_plain_functions_do_not_hop_and_iterators_are_iterated(tmp_path: Path) -> None:
    wraps = {
        "Items[int]": "same",
        "Items[LumeRun]": "LumeRun._wrap",
        'Items["LumeRun"]': "LumeRun._wrap",
        "Items[RunEvent[LumeRun]]": "in_event(LumeRun._wrap)",
    }
    text = several(tmp_path, [f"def act{n}(self) -> {one}" for n, one in enumerate(wraps)])
    for n, (returns, wrap) in enumerate(wraps.items()):
        assert f"def act{n}(self) -> {returns}:" in text
        assert f"with adopted:\n            return iterate(self._core.act{n}(), {wrap})" in text
    assert "from lume_sync._bridge import Items, " in text


def test_the_argument_annotation_picks_the_unwrapping(tmp_path: Path) -> None:
    passed = {
        "int": "value",
        "LumeRun": "core_of(value)",
        "LumeRun | str": "core_of(value)",
        "'LumeRun | str | None'": "core_of(value)",
        "Iterable[LumeRun | str]": "cores_of(value)",
    }
    text = several(tmp_path, [f"async def act{n}(self, value: {one}) -> int" for n, one in enumerate(passed)])
    for n, argument in enumerate(passed.values()):
        assert f"call(self._core.act{n}, {argument}).result()" in text


def test_an_iterable_or_asynchronous_one_is_only_the_first_here(tmp_path: Path) -> None:
    methods = """
        async def act(self, values: Iterable[int] | AsyncIterable[int]) -> int:
            '''Acts.'''
    """
    text = generate(tmp_path, methods)
    assert "def act(self, values: Iterable[int]) -> int:" in text
    assert "call(self._core.act, pulled(values)).result()" in text


def test_properties_special_methods_and_pickling(tmp_path: Path) -> None:
    methods = """
        def __init__(self, limit: int = 2 * LIMIT) -> None:
            self.x = limit

        @property
        def run(self) -> LumeRun:
            '''Its run.'''

        async def aclose(self) -> None:
            '''Close.'''

        async def __aenter__(self) -> Self:
            '''Enter.'''

        async def __aexit__(self, kind: Any, error: Any, traceback: Any) -> None:
            '''Leave.'''

        def __eq__(self, other: object) -> bool:
            '''Equal.'''

        def __setstate__(self, state: Any) -> None:
            '''Restore.'''

        def __hash__(self) -> int:
            '''By id.'''
            return 1

        def _hidden(self): ...
    """
    text = generate(tmp_path, methods)
    assert "limit: int = 2 * (32 * 1024)" in text
    assert "self._core = lume_async.Client(limit)" in text
    assert "return LumeRun._wrap(self._core.run)" in text
    assert 'def close(self) -> None:\n        """Close."""' in text.replace("'''", '"""')
    assert "call(self._core.aclose).result()" in text
    assert "held = hold(self._core)\n        call(held.enter).result()" in text
    assert "call(self._held.pop().leave, kind, error, traceback).result()" in text
    assert "return self._core == other._core if isinstance(other, Client) else NotImplemented" in text
    assert "self._core = revive(lume_async.Client, state)" in text
    assert "return self._core.__hash__()" in text
    assert "_hidden" not in text


def test_secrets_are_veiled_before_anything_can_fail(tmp_path: Path) -> None:
    methods = """
        def __init__(self, key: ApiKey | None = None) -> None: ...
    """
    text = generate(tmp_path, methods)
    assert "key = offload(key)\n        self._core = lume_async.Client(key)" in text


@pytest.mark.parametrize(
    ("methods", "reason"),
    [
        ("async def act(self) -> int:\n    return 1", "no docstring"),
        ("async def act(self):\n    '''Acts.'''", "no return annotation"),
        ("async def act(self, x) -> int:\n    '''Acts.'''", "the parameter x has no annotation"),
        ("async def act(self) -> dict[str, LumeRun]:\n    '''Acts.'''", "bring 'dict[str, LumeRun]' across"),
        ("async def act(self) -> LumeRun | None:\n    '''Acts.'''", "across"),
        ("def act(self) -> Awaitable[int]:\n    '''Acts.'''", "across"),
        ("def act(self) -> AsyncIterator[int]:\n    '''Acts.'''", "bring 'AsyncIterator[int]' across"),
        ("async def act(self, x: dict[str, LumeRun]) -> int:\n    '''Acts.'''", "bring an argument of type"),
        ("async def act(self, x: AsyncIterator[int]) -> int:\n    '''Acts.'''", "in a synchronous API"),
        ("async def act(self, *x: LumeRun) -> int:\n    '''Acts.'''", "no way to bring *x across"),
        ("def __await__(self) -> Any:\n    '''Awaits.'''", "__await__: nothing is known"),
        ("@classmethod\ndef act(self) -> int:\n    '''Acts.'''", "the decorator @classmethod"),
        ("limit = 3", "nothing is known about this statement"),
        ("async def act(self, x: Secret) -> int:\n    '''Acts.'''", "make it a public name"),
        ("async def act(self, x: Unknown) -> int:\n    '''Acts.'''", "Unknown"),
    ],
)
def test_what_it_does_not_know_stops_it_and_says_where(tmp_path: Path, methods: str, reason: str) -> None:
    with pytest.raises(Refused, match=r"lume_async/_client.py:\d+: ") as caught:
        generate(tmp_path, methods)
    assert reason in str(caught.value)


# ── whole trees ─────────────────────────────────────────────────────────────────────────────────────────────────

TREE = {
    "__init__.py": '''"""Core."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lume_async._api import aclose as aclose, default_client as default_client, run as run
    from lume_async._client import Client as Client
    from lume_async.models import Outcome as Outcome
''',
    "_ops/parts.py": '''"""Parts."""

from lume_async._http.sender import Sender


class Parts:
    """Operations of a client."""

    _sender: Sender

    async def part(self, name: str) -> str:
        """Take a part."""
        return name
''',
    "_client.py": '''"""Client."""

from lume_async._ops.parts import Parts


class Client(Parts):
    """A client."""

    async def run(self, name: str) -> int:
        """Run it."""
        return 1

    async def aclose(self) -> None:
        """Close it."""
''',
    "_api.py": '''"""Functions."""

from lume_async._client import Client

_default: dict[str, Client] = {}


def default_client() -> Client:
    """The default client."""
    return _default["client"]


async def run(name: str) -> int:
    """Run it."""
    return await default_client().run(name)


async def aclose() -> None:
    """Close it."""
    client = _default.pop("client", None)
    if client is not None:
        await client.aclose()
''',
}


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (generate_sync, sync_modules, sync_source):
        monkeypatch.setattr(module, "LIVE", {"Client": "_client"})
        monkeypatch.setattr(module, "PARTS", {"Parts": "_parts"})
    monkeypatch.setitem(generate_sync.HOMES, "Parts", "_ops/parts.py")
    for package in ("lume_async", "lume_sync"):
        (tmp_path / package).mkdir()
    for name, text in TREE.items():
        path = tmp_path / "lume_async" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_functions_hop_from_their_own_frame_and_the_rest_is_mirrored(tree: Path) -> None:
    assert generate_sync.main([], tree) == 0
    api = (tree / "lume_sync" / "_api.py").read_text()
    assert api.startswith("# Generated by tools/generate_sync.py from lume_async/_api.py. Do not edit;")
    assert "return call(default_client()._core.run, name).result()" in api
    assert 'def close() -> None:\n    """Close it."""\n    client = _default.pop("client", None)' in api
    assert "        client.close()\n" in api
    assert "from lume_sync._client import Client\n" in api
    package = (tree / "lume_sync" / "__init__.py").read_text()
    assert "from lume_async import Outcome as Outcome\n" in package
    table = (tree / "lume_sync" / "_exports.py").read_text()
    assert '    "lume_async": "Outcome",\n    "lume_sync._api": "close default_client run",\n' in table


def test_a_class_that_the_client_inherits_from_has_a_twin_that_its_twin_inherits_from(tree: Path) -> None:
    assert generate_sync.main([], tree) == 0
    client, parts = ((tree / "lume_sync" / name).read_text() for name in ("_client.py", "_parts.py"))
    assert "from lume_sync._parts import Parts\n" in client
    assert "class Client(Parts):" in client
    assert "def part" not in client
    assert "class Parts:" in parts
    assert "    _core: lume_async.Client\n" in parts
    assert "return call(self._core.part, name).result()" in parts


def test_a_part_with_bases_of_its_own_stops_it(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tree / "lume_async" / "_ops" / "parts.py"
    path.write_text(path.read_text().replace("class Parts:", "class Parts(dict):"))
    assert generate_sync.main([], tree) == 2
    assert "Parts: nothing is known about its bases" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("from lume_async.models import Outcome", "Outcome has to be imported as itself"),
        ("import lume_async.models", "only `from module import name as name` is public"),
    ],
)
def test_only_what_is_imported_as_itself_is_public(
    tree: Path, capsys: pytest.CaptureFixture[str], line: str, reason: str
) -> None:
    path = tree / "lume_async" / "__init__.py"
    path.write_text(path.read_text().replace("from lume_async.models import Outcome as Outcome", line))
    assert generate_sync.main([], tree) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.thorough
def test_check_is_silent_where_all_is_fresh_and_compares_whole_bytes(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate_sync.main(["--check"], tree) == 1
    assert not list((tree / "lume_sync").iterdir())
    assert generate_sync.main([], tree) == 0
    capsys.readouterr()
    assert generate_sync.main(["--check"], tree) == 0
    assert capsys.readouterr().out == ""

    path = tree / "lume_sync" / "_client.py"
    path.write_bytes(path.read_bytes() + b"\n")
    assert generate_sync.main(["--check"], tree) == 1
    assert "lume_sync/_client.py (new)" in capsys.readouterr().out
    assert path.read_bytes().endswith(b"\n\n")


@pytest.mark.thorough
def test_an_orphan_is_found_and_then_removed(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orphan = tree / "lume_sync" / "_old.py"
    orphan.write_text("# Generated by tools/generate_sync.py from lume_async/_old.py. Do not edit\n")
    by_hand = tree / "lume_sync" / "_portal.py"
    by_hand.write_text("# by hand\n")
    assert generate_sync.main(["--check"], tree) == 1
    assert "lume_sync/_old.py is generated from nothing" in capsys.readouterr().out
    assert generate_sync.main([], tree) == 0
    assert not orphan.exists()
    assert by_hand.exists()


@pytest.mark.parametrize("word", ["await", "async", "coroutine"])
def test_a_docstring_that_is_not_neutral_stops_it(
    tree: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    path = tree / "lume_async" / "_client.py"
    path.write_text(path.read_text().replace("Run it.", f"Use it with {word} in front."))
    assert generate_sync.main([], tree) == 2
    assert f"'{word}' has no place" in capsys.readouterr().err
    assert not list((tree / "lume_sync").iterdir())


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("async with client: pass", "only calls can be mirrored"),
        ("missing()", "ruff does not accept"),
    ],
)
def test_what_cannot_be_mirrored_stops_it(
    tree: Path, capsys: pytest.CaptureFixture[str], statement: str, reason: str
) -> None:
    path = tree / "lume_async" / "_api.py"
    path.write_text(path.read_text().replace("await client.aclose()", statement))
    assert generate_sync.main([], tree) == 2
    assert reason in capsys.readouterr().err


def test_a_missing_class_stops_it(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "lume_async" / "_client.py").write_text('"""Nothing."""\n')
    assert generate_sync.main([], tree) == 2
    assert "there is no class Client here" in capsys.readouterr().err
