"""The first rejected rows of a run that was FAILED since all of them were: those of a dry run."""

import json
from decimal import Decimal
from functools import partial
from typing import Any

from aiohttp import ClientSession

_MOST = 1000
"""Rows in the answer to a dry run; the contract's limit."""

_exact = partial(json.loads, parse_float=Decimal)


async def dry_rejects(
    base_url: str, api_key: str, flow: str, source: str, limit: int
) -> list[dict[str, Any]]:
    """Run the flow on the source once more, dry, in a server of our own; a dry run has rows whatever its status."""
    body = {"flow_version": flow, "source_path": source, "dry_run": True, "limit": min(limit, _MOST)}
    async with (
        ClientSession(headers={"lume-api-key": api_key}, raise_for_status=True) as http,
        http.post(f"{base_url}/v1/runs", json=body) as answer,
    ):
        rejects: list[dict[str, Any]] = (await answer.json(loads=_exact))["rows"]["rejects"]
        return rejects
