"""An interpreter in which this project finds no more than Windows has: `PYTHONPATH=tests/without_posix python …`.

Only this project's own files see it, packages and tests: the standard library and others still run as on this system,
as their authors have tried them on Windows. Paths, consoles, signals and event loops are those of this system, too.
What is simulated:

- the names and modules that typeshed, which type checkers use, does not have for Windows are missing;
- a file that this process has open can be neither replaced nor removed;
- `os.kill` sends no signals;
- `os.write` changes the ends of lines unless the file was opened with `O_BINARY`;
- an event loop handles no signals, and there is no uvloop.
"""

import ast
import asyncio
import builtins
import errno
import importlib.util
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn

ROOT = str(Path(__file__).resolve().parents[2])
FOREIGN = "site-packages"
LIMITED = ("os", "select", "signal", "socket", "time")
"""The modules that have fewer names there."""
O_BINARY = 0x8000


def defined(name: str, platform: str) -> tuple[set[str], set[str]]:
    """What typeshed says that a module has on a platform: its own definitions, and what it imports."""
    typeshed = Path(importlib.util.find_spec("mypy").origin).parent / "typeshed/stdlib"
    stub = typeshed / f"{name}.pyi"
    if not stub.exists():
        stub = typeshed / name / "__init__.pyi"
    known = {"sys": SimpleNamespace(platform=platform, version_info=sys.version_info)}
    own, imported = set[str](), set[str]()

    def read(body: list[ast.stmt]) -> None:
        for node in body:
            match node:
                case ast.If(test=test, body=then, orelse=otherwise):
                    holds = eval(compile(ast.Expression(test), str(stub), "eval"), known)
                    read(then if holds else otherwise)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    own.add(name)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    own.add(name)
                case ast.Assign(targets=targets):
                    own.update(one.id for one in targets if isinstance(one, ast.Name))
                case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                    imported.update(alias.asname or alias.name for alias in aliases)

    if stub.exists():
        read(ast.parse(stub.read_text(encoding="utf-8")).body)
    return own, imported


@cache
def missing(name: str) -> frozenset[str]:
    """The names that a module of the standard library lacks on Windows."""
    here, there = defined(name, sys.platform), defined(name, "win32")
    return frozenset((here[0] | here[1]) - (there[0] | there[1]))


@cache
def is_absent(name: str) -> bool:
    """Whether Windows has no such module."""
    return name in sys.stdlib_module_names and bool(defined(name, sys.platform)[0]) > bool(
        defined(name, "win32")[0]
    )


def limited(module: ModuleType, other: dict[str, Any]) -> ModuleType:
    """A module as Windows has it, with what is other there. What is set in it is set in the real one."""
    gone = missing(module.__name__)

    class Limited(ModuleType):
        def __getattribute__(self, name: str) -> Any:
            if name in other:
                return other[name]
            if name in gone:
                raise AttributeError(
                    f"module {module.__name__!r} has no attribute {name!r} on Windows", name=name
                )
            return getattr(module, name)

        def __setattr__(self, name: str, value: Any) -> None:
            setattr(module, name, value)

        def __delattr__(self, name: str) -> None:
            delattr(module, name)

    return Limited(module.__name__)


_text: set[int] = set()
"""Files whose ends of lines are changed."""


def open_file(path: Any, flags: int, *rest: Any, **options: Any) -> int:
    number = os.open(path, flags & ~O_BINARY, *rest, **options)
    (_text.discard if flags & O_BINARY else _text.add)(number)
    return number


def write(number: int, data: bytes) -> int:
    os.write(number, bytes(data).replace(b"\n", b"\r\n") if number in _text else data)
    return len(data)


def kill(_pid: int, _number: int) -> NoReturn:
    raise AssertionError("on Windows this would end the process without a signal")


def refuses(call: Callable[..., Any], which: int) -> Callable[..., Any]:
    """A call of `os` that refuses what this process has open: the argument of that number."""

    def refusing(*paths: Any, **folders: Any) -> Any:
        path = os.fsdecode(paths[which])
        at = folders.get("dir_fd")
        folder = "" if at is None else os.readlink(f"/proc/self/fd/{at}")
        whole = os.path.join(
            os.path.realpath(os.path.join(folder, os.path.dirname(path))), os.path.basename(path)
        )
        if whole in opened():
            raise PermissionError(errno.EACCES, "Access is denied", path)
        return call(*paths, **folders)

    return refusing


def opened() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            continue


def no_signals(*_arguments: Any) -> NoReturn:
    raise NotImplementedError


def take_away() -> None:
    limits = {"os": limited(os, {"O_BINARY": O_BINARY, "kill": kill, "open": open_file, "write": write})}
    import_module = builtins.__import__

    def import_for(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> ModuleType:
        top = name.partition(".")[0]
        if level or globals is None or not is_ours(globals):
            return import_module(name, globals, locals, fromlist, level)
        if is_absent(top):
            raise ModuleNotFoundError(f"No module named {name!r}: there is none on Windows", name=name)
        found = import_module(name, globals, locals, fromlist, level)
        if top not in LIMITED or (fromlist and name != top):
            return found
        return limits.get(top) or limits.setdefault(top, limited(sys.modules[top], {}))

    builtins.__import__ = import_for
    os.replace, os.rename = refuses(os.replace, 1), refuses(os.rename, 0)
    os.unlink = os.remove = refuses(os.unlink, 0)
    for loop in (asyncio.SelectorEventLoop, asyncio.AbstractEventLoop):
        loop.add_signal_handler = no_signals
    sys.modules["uvloop"] = None


def is_ours(importer: dict[str, Any]) -> bool:
    """Whether a file of this project imports, or a program of the command line (`-c`)."""
    file = importer.get("__file__")
    if file is None:
        return importer.get("__name__") == "__main__"
    return file.startswith(ROOT) and FOREIGN not in file and file != __file__


try:
    take_away()
except BaseException:  # of which an interpreter would only warn
    traceback.print_exc()
    os._exit(1)
