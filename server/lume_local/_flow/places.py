"""The path templates of a flow version, for its source and its results. Pure."""

import posixpath
import re
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from lume_local._flow.databases import DATABASE, TableTarget
from lume_local._flow.fields import FlowError, Table
from lume_local._flow.lakes import read_table
from lume_local._flow.urls import is_store_url

MAPPED = "{data}/out/{flow}/{version}/{run_id}/mapped.parquet"
REJECTS = "{data}/out/{flow}/{version}/{run_id}/rejects.csv"
SUFFIXES = (".parquet", ".csv", ".ndjson")
_REJECTED = {"excel": ".csv", "fixed": ".csv", "json": ".ndjson", "xml": ".ndjson", "sql": ".csv"}
"""The suffixes of rejects for formats that can be read but not written."""
_PLACEHOLDERS = ("data", "flow", "version", "run_id", "source_path")


def read_targets(
    table: Table, flow: str, version: str, source_format: str
) -> tuple[str | TableTarget, str, TableTarget | None]:
    """Return the targets: `mapped`, a file's template or a table; `rejects`, a template; and a table of rejects.

    That table gets the rejects, too: the server reads them from the file. Raises `FlowError`.
    """
    rejects_table, table = _rejects_table(table)
    is_table = isinstance(table.values.get("mapped"), dict)
    mapped_table = read_table(table.table("mapped"), is_mapped=True) if is_table else None
    templates = []
    # Rejects in the format of the source can be submitted again.
    rejected = REJECTS.replace(".csv", _REJECTED.get(source_format, f".{source_format}"))
    defaults = {"rejects": rejected} if mapped_table else {"mapped": MAPPED, "rejects": rejected}
    for key, default in defaults.items():
        template, place = table.text(key, default=default, longest=4096), f"target.{key}"
        check_placeholders(place, template, _PLACEHOLDERS)
        if template.startswith("~/"):
            raise FlowError(place, "starts with ~, which only a shell expands: write the full path")
        if "://" in template and not template.startswith("file://") and not is_store_url(template):
            raise FlowError(place, "must be a path, or a URL such as s3://bucket/key, gs://… or az://…")
        if key == "mapped" and template.endswith("/"):
            if is_store_url(template):
                where = "parts go to a folder of this machine, not into a store"
                raise FlowError(place, f"{where}: {template}part.parquet")
        elif not template.lower().endswith(SUFFIXES):
            raise FlowError(place, f"must end with one of {', '.join(SUFFIXES)}")
        elif not PurePosixPath(template).suffix:
            raise FlowError(
                place,
                f"ends with {PurePosixPath(template).name}, without a name before it, such as {key}.csv",
            )
        templates.append(template)
    table.refuse_unknown()
    if mapped_table:
        if rejects_table and _place(mapped_table) == _place(rejects_table):
            own = "table" if rejects_table.kind == DATABASE else rejects_table.kind
            raise FlowError(f"target.rejects.{own}", "is the table of target.mapped: name another one")
        return mapped_table, templates[0], rejects_table
    files = set[str]()  # by one spelling for all templates of a file, where that is known before a run
    for template in templates:
        path = unquote(urlsplit(template).path) if template.startswith("file://") else template
        files.add(posixpath.normpath(path.replace("{flow}", flow).replace("{version}", version)))
    if len(files) == 1:
        raise FlowError("target.rejects", "is the same file as target.mapped: give it another name")
    return templates[0], templates[1], rejects_table


def _rejects_table(table: Table) -> tuple[TableTarget | None, Table]:
    """Return the table of the rejects, and the targets with the template of their file in its place."""
    if not isinstance(table.values.get("rejects"), dict):
        return None, table
    own = table.table("rejects")
    found, file = read_table(own, is_mapped=False), own.values.get("file")
    if file is not None:
        own.text("file", longest=4096)
    own.refuse_unknown()
    rest = {key: value for key, value in table.values.items() if key != "rejects"}
    return found, Table(table.place, rest if file is None else rest | {"rejects": file})


def _place(target: TableTarget) -> tuple[str, str]:
    is_in_database = target.kind == DATABASE
    name = target.table.lower() if is_in_database else target.table
    return f"{target.kind} {target.url_env or target.catalog}", name


def check_placeholders(place: str, template: str, known: tuple[str, ...]) -> None:
    """Refuse placeholders that nothing fills in. Raises `FlowError`."""
    for name in re.findall(r"\{([^{}]*)\}", template):
        if name not in known:
            allowed = ", ".join("{" + one + "}" for one in known)
            raise FlowError(place, f"{{{name}}} is not a placeholder: there are {allowed}")


def check_is_own(templates: dict[str, str | TableTarget]) -> None:
    """Refuse templates that give two contents of one source the same file. Raises `FlowError`."""
    for key, template in templates.items():
        if isinstance(template, str) and "{source_path}" in template and "{run_id}" not in template:
            raise FlowError(
                f"target.{key}",
                'is the same file for all content of one path, but source.identity = "content" makes each content a '
                "source: put {run_id} into it",
            )
