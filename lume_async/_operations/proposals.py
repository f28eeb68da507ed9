"""Builds the request for a proposal from the user's arguments. Pure."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from lume_async._base import arguments
from lume_async._operations.flow_file import check_json, split_ref
from lume_async.errors import InvalidRequestError
from lume_async.models import plain_text

_MOST = 20
Choices = Mapping[str, str | Mapping[str, Any] | None]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def proposal_request(
    flow_or_schema: str | Mapping[str, Any],
    samples: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    flow: str | None,
    source: Mapping[str, Any] | None,
    choices: Choices | None,
    inline_lookups: bool,
    dry_run: bool,
) -> tuple[str, dict[str, Any], dict[int, os.PathLike[str]]]:
    """Return the name of the flow, the body, and the local files among the samples by their places.

    Raises:
        ValueError, InvalidRequestError: an argument is not valid; no request was sent.
    """
    arguments.instance(
        flow_or_schema, "flow_or_schema", (str, Mapping), "a flow, a flow version, or a JSON Schema as a dict"
    )
    arguments.instance(
        samples, "samples", (str, os.PathLike, Sequence), "one source path or file, or several"
    )
    several = [samples] if isinstance(samples, str | os.PathLike) else list(samples)
    if not 1 <= len(several) <= _MOST:
        raise ValueError(f"samples must be 1 to {_MOST} source paths or files, not {len(several)}")
    for one in several:
        arguments.instance(one, "samples", (str, os.PathLike), "source paths or files")
    body: dict[str, Any] = {"samples": [one if isinstance(one, str) else "" for one in several]}
    for one in several:
        if isinstance(one, str):
            plain_text(one, "samples")
        else:
            arguments.path(one, "samples", InvalidRequestError)
    if arguments.flag(inline_lookups, "inline_lookups"):
        body["inline_lookups"] = True
    if arguments.flag(dry_run, "dry_run"):
        if not inline_lookups or len(several) > 1:
            raise ValueError("dry_run takes one sample, and inline_lookups=True")
        body["dry_run"] = True
    if choices is not None:
        arguments.instance(choices, "choices", (Mapping,), "a dict")
        check_json(choices, "choices")
        for chosen in choices.values():
            arguments.instance(
                chosen, "choices", (str, Mapping, type(None)), "names of source columns, None, or dicts"
            )
        body["choices"] = dict(choices)
    if source is not None:
        arguments.instance(source, "source", (Mapping,), "a dict")
        check_json(source, "source")
        body["source"] = dict(source)
    if isinstance(flow_or_schema, Mapping):
        name = flow if flow is not None else _name_of(str(flow_or_schema.get("title") or ""))
        check_json(flow_or_schema, "flow_or_schema")
        body["schema"] = dict(flow_or_schema)
    elif flow is not None:
        raise ValueError("flow is for a schema: flow_or_schema names one already")
    elif ":" in flow_or_schema:
        name, body["version"] = split_ref(flow_or_schema, "flow_or_schema")
    else:
        name = flow_or_schema
    if not _NAME.fullmatch(name):
        which = "flow_or_schema" if flow is None else "flow"
        raise InvalidRequestError(
            f"{which}: {arguments.shown(name)} is not the name of a flow; no request was sent"
        )
    return name, body, {n: one for n, one in enumerate(several) if not isinstance(one, str)}


def _name_of(title: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", title.partition(":")[0]).strip("_-").lower()[:64]
    if not name:
        raise ValueError("flow is missing: flow_or_schema has no title to name the flow by")
    return name
