"""`arrivals.toml`: which files arrive where, and how they are processed. Parsed as strictly as a flow file.

Errors are `FlowError`s that name the place and its line; `others` holds the further mistakes of the file.
"""

import glob
import re
from typing import Any

from attrs import evolve, field, frozen

from lume_local._flow.definition import NAME, VERSION
from lume_local._flow.fields import FlowError, Table
from lume_local._flow.mistakes import Mistakes, line_of, top_table
from lume_local._flow.urls import NotAnSftpUrl, NotAStoreUrl, SftpUrl, split_store_url

QUIET = 10.0
"""Default seconds for which a file must be unchanged; objects appear as a whole or not at all."""
MOST_RETRIES = 20
MOST_ARRIVALS = 100
"""The limit is low because each has a task, and may have a thread."""
_LONGEST_QUIET = 7 * 86400
SCHEMES = ("", "s3", "gs", "az", "sftp")
"""Schemes of places; the empty one is for paths."""
CHANGED = ("refuse", "rerun", "ignore")
PATH = "{path}"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_FLOW = re.compile(rf"{NAME.pattern}(:{VERSION.pattern})?")
_FLOW_LINE = re.compile(r"""(\s*flow\s*=\s*)("[^"]*"|'[^']*')""")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@frozen
class Arrival:
    """One `[[arrival]]` table.

    Attributes:
        flow: `orders`, which means its newest version, or `orders:v3`.
        uri: `from`, a pattern of paths or URLs.
        quiet: seconds for which a file must be unchanged, if there is no `marker`.
        marker: the path of the file that marks another one as complete; `{path}` stands for the other one.
        changed: how to treat a new version of a processed path: one of `CHANGED`.
        queue_env: the environment variable with the URL of a queue with the bucket's notifications.
        move: the folder for files whose runs ended with output; None leaves them in place.
        failed: the folder for files whose runs failed for good, or that were refused; None leaves them in place.
        retry: how often the run of a file is repeated that has crashed.
        layout: the layout of its files; None to recognise it.
    """

    name: str
    flow: str
    uri: str
    quiet: float = QUIET
    marker: str | None = None
    changed: str = "refuse"
    move: str | None = None
    failed: str | None = None
    retry: int = 0
    queue_env: str | None = None
    layout: str | None = None
    scheme: str = field(init=False)
    folder: str = field(init=False)
    """The part of `uri` before the first wildcard, without a final slash; may be empty."""
    pattern: str = field(init=False)
    """The rest of `uri`."""

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "scheme", scheme_of(self.uri))
        folder, pattern = _split(self.uri)
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "pattern", pattern)

    @property
    def holder(self) -> str:
        """The submitter of its runs, as in `submitted_by`; no key can have this name."""
        return f"arrival:{self.name}"

    @property
    def follows(self) -> bool:
        """Whether something is to be done once the run of a file has ended."""
        return bool(self.move or self.failed or self.retry)

    def beside(self, path: str, folder: str) -> str:
        """Return the path of a file that is moved to a folder below that of `from`; nothing arrives there."""
        prefix = self.folder if self.folder in ("", "/") else f"{self.folder}/"
        return f"{prefix}{folder}/{path.removeprefix(prefix)}"

    def marked(self, path: str) -> str:
        """Return the path of a file's marker."""
        assert self.marker is not None
        return self.marker.replace(PATH, path)

    def marked_by(self, path: str) -> str | None:
        """Return the path of the file that this one would mark; None if it can't be a marker."""
        return None if self.marker is None else inverted(self.marker, PATH, path)


def inverted(template: str, name: str, text: str) -> str | None:
    """Return the text that `name` must stand for in a template that gives this text; None if there is none."""
    before, _, after = template.partition(name)
    if len(text) <= len(before) + len(after) or not (text.startswith(before) and text.endswith(after)):
        return None
    return text[len(before) : len(text) - len(after)]


def scheme_of(uri: str) -> str:
    match = _SCHEME.match(uri)
    return match[1].lower() if match else ""


def read_arrivals(text: str) -> tuple[Arrival, ...]:
    """Return the arrivals in the text of a file. Raises `FlowError` for the first mistake, with the `others`."""
    mistakes, top = Mistakes(text), top_table(text)
    none: list[dict[str, Any]] = []
    entries = mistakes.noting(lambda: top.tables("arrival"), none)
    top.present("message")  # the same file may contain the messages
    if len(entries) > MOST_ARRIVALS:
        mistakes.add(FlowError("arrival", f"are {len(entries):,}: a server has up to {MOST_ARRIVALS}"))
    mistakes.noting(top.refuse_unknown, None)
    found = [_arrival(Table(f"arrival[{n}]", entry), mistakes) for n, entry in enumerate(entries)]
    seen: set[str] = set()
    for n, arrival in enumerate(found):
        if arrival is not None and arrival.name in seen:
            mistakes.add(FlowError(f"arrival[{n}].name", f"{arrival.name!r} appears twice: choose another"))
        seen.update([arrival.name] if arrival is not None else [])
    mistakes.check()
    return tuple(arrival for arrival in found if arrival is not None)


def with_flow(text: str, name: str, flow: str) -> str:
    """Return the text of a file in which the arrival `name` has this flow; the rest stays as a person wrote it.

    Raises:
        FlowError: the file has a mistake, or no line for the arrival's flow.
        KeyError: there is no such arrival.
    """
    before = read_arrivals(text)
    names = [arrival.name for arrival in before]
    if name not in names:
        raise KeyError(name)
    place = f"arrival[{names.index(name)}].flow"
    lines, number = text.splitlines(keepends=True), line_of(place, text) or 0
    if match := _FLOW_LINE.match(lines[number - 1]):
        lines[number - 1] = f'{match[1]}"{flow}"' + lines[number - 1][match.end(2) :]
    changed = "".join(lines)
    wanted = tuple(evolve(one, flow=flow) if one.name == name else one for one in before)
    if read_arrivals(changed) != wanted:  # such as in a table on one line
        raise FlowError(place, f'has no line of its own: write flow = "{flow}" there')
    return changed


def _arrival(table: Table, mistakes: Mistakes) -> Arrival | None:
    """Return the arrival of a table; None if it has a mistake."""
    before = len(mistakes)
    name = mistakes.noting(lambda: table.text("name", pattern=NAME), "")
    flow = mistakes.noting(lambda: table.text("flow", pattern=_FLOW, longest=129), "")
    uri = mistakes.noting(lambda: _uri(table), "")
    still: tuple[float, str | None] = QUIET, None
    quiet, marker = mistakes.noting(lambda: _ready(table, uri), still)
    changed = mistakes.noting(lambda: table.choice("changed", CHANGED, default="refuse"), "refuse")
    move = mistakes.noting(lambda: _after(table), None)
    failed = mistakes.noting(lambda: _folder(table, "failed") if table.present("failed") else None, None)
    retry = mistakes.noting(lambda: table.count("retry", most=MOST_RETRIES), 0)
    queue = mistakes.noting(lambda: _queue(table, uri), None)
    layout = mistakes.noting(
        lambda: table.text("layout", pattern=NAME) if table.present("layout") else None, None
    )
    mistakes.noting(table.refuse_unknown, None)
    if len(mistakes) > before:
        return None
    return Arrival(name, flow, uri, quiet, marker, changed, move, failed, retry, queue, layout)


def _uri(table: Table) -> str:
    place, uri = table.at("from"), table.text("from", longest=1024)
    scheme = scheme_of(uri)
    if scheme not in SCHEMES:
        listed = ", ".join(f"{one}://" for one in SCHEMES if one)
        raise FlowError(place, f"{scheme}:// is not a place where files can arrive: use a path, {listed}")
    folder, pattern = _split(uri)
    if not pattern:
        raise FlowError(place, f'names a folder: write "{uri}*" for all files in it')
    if any(part in ("..", ".") for part in uri.split("/")):
        raise FlowError(place, "has a part that is '.' or '..': write the path without it")
    if scheme in ("s3", "gs", "az"):
        try:
            _, _, key = split_store_url(uri)
        except NotAStoreUrl as error:
            raise FlowError(place, str(error)) from None
        if not key:
            raise FlowError(place, f'names a bucket: write "{uri.rstrip("/")}/*" for all objects in it')
        if glob.has_magic(folder.partition("://")[2].partition("/")[0]):
            raise FlowError(place, "has a wildcard in the name of the bucket")
    if scheme == "sftp":
        try:
            url = SftpUrl.of(uri)
        except NotAnSftpUrl as error:
            raise FlowError(place, str(error)) from None
        if not url.path.strip("/"):
            raise FlowError(place, f'names a server: write "{url.site}/*" for all files in its first folder')
    return uri


def _split(uri: str) -> tuple[str, str]:
    """Return the folder before the first wildcard, or of a single file, and the rest."""
    parts = uri.split("/")
    fixed = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return "/".join(parts[:fixed]) or ("/" if uri.startswith("/") else ""), "/".join(parts[fixed:])


def _ready(table: Table, uri: str) -> tuple[float, str | None]:
    """Return how a file becomes ready: the seconds of quiet, and the marker."""
    ready = table.table("ready")
    quiet, marker = 0.0 if scheme_of(uri) in ("s3", "gs", "az") else QUIET, None
    if ready.present("quiet"):
        place, value = ready.at("quiet"), ready.values["quiet"]
        match = _DURATION.fullmatch(str(value)) if isinstance(value, str | int | float) else None
        if match is None or isinstance(value, bool):
            raise FlowError(place, f'{value!r} is not a duration: write 10, "500ms", "10s" or "5m"')
        quiet = float(match[1]) * _UNITS[match[2] or "s"]
        if quiet > _LONGEST_QUIET:
            raise FlowError(place, "is longer than a week")
    if ready.present("marker"):
        if ready.present("quiet") and "quiet" in ready.values:
            raise FlowError(ready.place, "has quiet and marker: a file is ready by one of the two")
        marker = ready.text("marker", longest=1024)
        if marker.count(PATH) != 1 or marker == PATH:
            raise FlowError(
                ready.at("marker"), f'must name another file by {PATH}, once: such as "{PATH}.done"'
            )
    ready.refuse_unknown()
    return quiet, marker


def _queue(table: Table, uri: str) -> str | None:
    """Return the variable with the URL of a queue. Messages do not repeat a URL itself: it names an account."""
    if not table.present("queue_env"):
        return None
    place, name = table.at("queue_env"), table.text("queue_env", longest=1024)
    if not _VARIABLE.fullmatch(name):
        raise FlowError(
            place,
            "must name an environment variable of the server, such as ORDERS_QUEUE_URL, that holds a queue's URL",
        )
    if uri and scheme_of(uri) != "s3":
        raise FlowError(place, "has no meaning unless from is an s3:// URL: remove it")
    return name


def _after(table: Table) -> str | None:
    """Return the folder to move files to; None leaves them in place."""
    place = table.at("after")
    if not table.present("after") or table.values["after"] == "leave":
        return None
    if not isinstance(table.values["after"], dict):
        raise FlowError(place, f'must be "leave" or {{ move = "done/" }}, not {table.values["after"]!r}')
    after = table.table("after")
    folder = _folder(after, "move")
    after.refuse_unknown()
    return folder


def _folder(table: Table, key: str) -> str:
    place, folder = table.at(key), table.text(key, longest=255)
    parts = folder.removesuffix("/").split("/")
    if folder.startswith("/") or _SCHEME.match(folder) or any(part in ("", ".", "..") for part in parts):
        raise FlowError(place, f'{folder!r} must be a folder below the folder of from, such as "done/"')
    if glob.has_magic(folder):
        raise FlowError(place, f"{folder!r} has a wildcard")
    return "/".join(parts)
