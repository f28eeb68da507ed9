"""Seeds that a run brings in place of its flow version's seeds, with their content."""

import hashlib
import os
from collections.abc import Mapping
from typing import Any

import orjson
from anyio.to_thread import run_sync

from lume_local._flow.definition import SEED_BYTES, Flow
from lume_local._runs.sources.paths import PathRefused, Roots
from lume_local._shared import no_links

_BLOCK = 1024 * 1024

RunSeeds = dict[str, dict[str, Any]]
"""By the seed's name, its `source_path` and the `sha256` of its content."""


class SeedRefused(Exception):
    """A run can't bring this seed. The message says why and what to do."""


async def found_seeds(flow: Flow, given: Mapping[str, str], roots: Roots) -> RunSeeds:
    """Read the seeds of a submission. Raises `SeedRefused`, `PathRefused`."""
    declared = {seed.name: seed for seed in flow.seeds}
    for name in given:
        if name not in declared:
            known = ", ".join(sorted(declared)) or "none"
            raise SeedRefused(f"{flow.ref} has no seed {name!r}; it has {known}")
        if not declared[name].per_run:
            raise SeedRefused(
                f"the seed {name!r} of {flow.ref} is the same for all runs: write per_run = true below "
                f"[seeds.{name}] in a new version"
            )
    return {
        name: {"source_path": path, "sha256": await run_sync(_sha256, roots, path)}
        for name, path in given.items()
    }


def digest_of(seeds: RunSeeds) -> str:
    """Return the same digest for seeds with the same content; empty without seeds."""
    if not seeds:
        return ""
    content = {name: seed["sha256"] for name, seed in seeds.items()}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _sha256(roots: Roots, path: str) -> str:
    place = roots.source(path)
    try:
        with os.fdopen(no_links.open(place, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            digest, size = hashlib.sha256(), 0
            while block := file.read(_BLOCK):
                digest.update(block)
                size += len(block)
                if size > SEED_BYTES:
                    raise SeedRefused(f"{path!r} is larger than {SEED_BYTES:,} bytes: use it as a source")
            return digest.hexdigest()
    except FileNotFoundError:
        reason = "there is no such file"
    except OSError as error:
        reason = error.strerror or str(error)
    raise PathRefused(f"the seed {path!r}{roots.looked_up(path)} can't be read: {reason}")
