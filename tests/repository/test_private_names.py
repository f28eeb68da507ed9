"""aiohttp's private names are used where this list says so, and nowhere else: its next version may have others."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import test_layers
from components import ROOT

USED = {
    "lume_async/_http/connector.py": {"_create_connection"},
    "lume_async/_http/session.py": {"_request"},
}
"""Used if they are there: tests/async/http/test_other_aiohttp.py."""

_PRIVATE = re.compile(r"(?<=\bself\.)_[a-z]\w*")


def its_names() -> set[str]:
    """The private attributes of aiohttp's classes."""
    files = Path(aiohttp.__file__).parent.glob("*.py")
    return {name for file in files for name in _PRIVATE.findall(file.read_text(encoding="utf-8"))}


def inherited(file: Path, home: Path) -> Iterator[tuple[str, set[str]]]:
    """The classes in a file that are derived from aiohttp's, with the private attributes of those."""
    module = importlib.import_module(".".join(file.relative_to(home).with_suffix("").parts))
    for name, found in vars(module).items():
        if not inspect.isclass(found) or found.__module__ != module.__name__:
            continue
        theirs = [base for base in found.__mro__ if base.__module__.startswith("aiohttp")]
        yield name, {each for base in theirs for each in _PRIVATE.findall(inspect.getsource(base))}


def used(tree: ast.AST, ours: bool = True) -> Iterator[str]:
    """The private names that are used of others; `ours`: the class is no child of aiohttp's, `self` is our own."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls") | ast.Call(func=ast.Name(id="super"))) if (
                ours
            ):
                continue
            case ast.Attribute(attr=name):
                yield name
            case ast.Call(
                func=ast.Name(id="getattr" | "hasattr" | "setattr"), args=[_, ast.Constant(str() as name), *_]
            ):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if not ours:
                yield name


def test_private_names_of_aiohttp_are_used_where_the_list_says_so() -> None:
    theirs, found = its_names(), dict[str, set[str]]()
    for package in ("lume_async", "lume_cli", "lume_local"):
        home = test_layers.HOMES.get(package, ROOT)
        for file in (home / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if not re.search(r"^\s*(import|from) aiohttp", text, re.MULTILINE):
                continue
            tree = ast.parse(text)
            names = set(used(tree)) & theirs
            children = dict(inherited(file, home))
            for node in ast.walk(tree):
                if isinstance(node, ast.ClassDef) and node.name in children:
                    names |= set(used(node, ours=False)) & children[node.name]
            if names:
                found[file.relative_to(ROOT).as_posix()] = names

    assert found == USED
