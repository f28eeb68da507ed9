"""An output in parts: a folder of Parquet files, and the manifest that lists them. Worker and server share it."""

import os
from pathlib import Path

import orjson

from lume_local._shared import no_links

PARTS = "parts"
"""The kind of such a target, and of its steps."""
MANIFEST = "_manifest.json"


def named_in(manifest: Path) -> list[str]:
    """The files that a manifest names, in the order of the rows. Raises OSError, or ValueError for other files."""
    with os.fdopen(no_links.open(manifest), "rb") as file:
        content = orjson.loads(file.read())
    try:
        return [str(part["file"]) for part in content["parts"]]
    except (KeyError, TypeError):
        raise ValueError(f"{manifest} names no parts") from None
