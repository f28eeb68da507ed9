"""Is a run the one that was asked for? What its answer says of flow and source, compared with the request. Pure.

A gateway, a cache or a server that mixes up its answers may give one to somebody else's request.
"""

import re
import unicodedata
from typing import Any
from urllib.parse import unquote

from lume_async.models import RunRequest

SHOWN = 100
"""How much of an unexpected value a message shows, in characters: of a path, its end tells most."""


def difference(raw: dict[str, Any], request: RunRequest) -> str | None:
    """What shows that the run is another one; None where nothing does. What an answer leaves out shows nothing."""
    version, source = raw.get("flow_version"), raw.get("source_path")
    if isinstance(version, str) and not is_version(version, request.flow_version):
        return (
            f"expected a run of {_shown(request.flow_version)}, got one of {_shown(version)} @ $.flow_version"
        )
    if isinstance(source, str) and not _may_be_one_place(source, request.source_path):
        return f"expected a run on {_shown(request.source_path)}, got one on {_shown(source)} @ $.source_path"
    return None


def is_version(found: object, asked: str) -> bool:
    """Whether it is the flow version that was asked for; a server may complete one."""
    return isinstance(found, str) and (found == asked or found.startswith(f"{asked}:"))


def _may_be_one_place(one: str, other: str) -> bool:
    """Whether two source paths may be spellings of the same: as it was, absolute, below a root, with a scheme."""
    if one == other:
        return True
    short, long = sorted((_parts(one), _parts(other)), key=len)
    return bool(short) and long[-len(short) :] == short


def _parts(path: str) -> list[str]:
    """What of a path doesn't depend on its spelling. A query may be a signature, which a server keeps to itself."""
    if "://" in path:
        path = re.split("[?#]", path, maxsplit=1)[0]
    text = unicodedata.normalize("NFC", unquote(path)).casefold()
    return [part for part in re.split(r"[/\\:]", text.strip()) if part not in ("", ".")]


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"…{text[-SHOWN:]}")
