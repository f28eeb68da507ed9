"""Write lume_sync from the source text of lume_async, and the tables of names that packages load on first use.

    python tools/generate_sync.py            writes the files
    python tools/generate_sync.py --check    writes nothing; shows outdated files and exits with 1

It reads syntax trees and imports nothing. Signatures and docstrings are copied as text; annotations determine how a
value is converted on its way across. Anything unknown stops the generator: it never guesses.
"""

import argparse
import ast
import difflib
import subprocess
import sys
from pathlib import Path

from sync_exports import exported, exports_module
from sync_modules import functions_module, live_class, package, part_class
from sync_source import CORE, FACADE, HOMES, LAZY, LIVE, MARK, NOT_NEUTRAL, PARTS, Refused, Source


def build(root: Path) -> dict[Path, str]:
    """Return every generated file with its text; write nothing."""
    init = Source(root, "__init__.py", set())
    homes = exported(init.place, init.data.decode())
    public = set(homes)
    made = {f"{FACADE}/__init__.py": init.header() + package(homes)}
    for name, module in (LIVE | PARTS).items():
        source = Source(root, HOMES[name], public)
        classes = [node for node in source.tree.body if isinstance(node, ast.ClassDef) and node.name == name]
        if not classes:
            raise source.refuse(source.tree, f"there is no class {name} here")
        write = live_class if name in LIVE else part_class
        made[f"{FACADE}/{module}.py"] = introduced(source) + write(source, classes[0])
    api = Source(root, "_api.py", public)
    made[f"{FACADE}/_api.py"] = introduced(api) + functions_module(api)
    outputs = {}
    for filename, text in made.items():
        path = root / filename
        outputs[path] = formatted(path, text)
        for number, line in enumerate(outputs[path].splitlines(), 1):
            if word := NOT_NEUTRAL.search(line):
                raise Refused(f"{filename}:{number}: {word[0]!r} has no place in a synchronous API: {line}")
    return outputs | exports(root, outputs)


def exports(root: Path, outputs: dict[Path, str]) -> dict[Path, str]:
    """Return the table of public names of each package that loads them on first use."""
    made = {}
    for package_name, folder in LAZY.items():
        init, path = root / folder / "__init__.py", root / folder / "_exports.py"
        if init in outputs or init.exists():
            place = f"{package_name}/__init__.py"
            homes = exported(place, outputs.get(init) or init.read_text("utf-8"))
            made[path] = formatted(path, exports_module(place, homes))
    return made


def introduced(source: Source) -> str:
    """Return the first lines of a generated module."""
    return f'{source.header()}\n"""The synchronous twin of {source.place}."""\n\n'


def formatted(path: Path, text: str) -> str:
    """Return the text as ruff formats it: without unused imports, with the others sorted and short lines joined."""
    check = [
        "check",
        "--select",
        "I,F401,F821",
        "--fix",
        "--config",
        "lint.isort.split-on-trailing-comma=false",
        "--config",  # else ruff detects them from the files on disk
        f"lint.isort.known-first-party=['{CORE}', '{FACADE}']",
    ]
    for step in (check, ["format", "--config", "format.skip-magic-trailing-comma=true"]):
        command = [sys.executable, "-m", "ruff", *step, "--quiet", "--stdin-filename", str(path), "-"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, encoding="utf-8")
        if done.returncode or not done.stdout:
            raise Refused(f"ruff does not accept what was made for {path.name}: {done.stderr or done.stdout}")
        text = done.stdout
    return text


def orphans(root: Path, outputs: dict[Path, str]) -> list[Path]:
    """Return files that this generator has written before and would no longer write."""
    here = (path for folder in LAZY.values() for path in sorted((root / folder).glob("*.py")))
    marked = (path for path in here if path.read_text("utf-8").startswith(MARK))
    return [path for path in marked if path not in outputs]


def check(root: Path, outputs: dict[Path, str]) -> bool:
    """Show how the files on disk differ, byte by byte; return whether they are equal."""
    fresh = True
    for path, text in outputs.items():
        found = path.read_bytes() if path.exists() else b""
        if found != text.encode():
            fresh = False
            name = path.relative_to(root).as_posix()
            old = found.decode(errors="replace").splitlines(keepends=True)
            sys.stdout.writelines(
                difflib.unified_diff(old, text.splitlines(keepends=True), name, f"{name} (new)")
            )
    for path in orphans(root, outputs):
        fresh = False
        print(f"{path.relative_to(root).as_posix()} is generated from nothing any more")
    return fresh


ROOT = Path(__file__).resolve().parents[1]


def main(argv: list[str] | None = None, root: Path = ROOT) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing, exit with 1 where a file is out of date"
    )
    options = parser.parse_args(argv)
    try:
        outputs = build(root)
    except Refused as refused:
        print(f"generate_sync: {refused}", file=sys.stderr)
        return 2
    if options.check:
        return 0 if check(root, outputs) else 1
    for path, text in outputs.items():
        path.write_bytes(text.encode())
    for path in orphans(root, outputs):
        path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
