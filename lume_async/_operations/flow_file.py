"""Turns a flow version (a file, its text, a dict), or samples for one, into the JSON of the request."""

import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from anyio import to_thread

from lume_async._base import arguments
from lume_async._base.words import of_toml
from lume_async.errors import InvalidRequestError
from lume_async.models import JsonObject, plain_text

_REF = re.compile(r"([A-Za-z0-9][A-Za-z0-9_-]{0,63}):([A-Za-z0-9][A-Za-z0-9_.-]{0,63})")
_UNSENT = "no request was sent"

_MOST = 20
Choices = Mapping[str, str | JsonObject | None]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


async def definition_of(flow: str | os.PathLike[str] | JsonObject) -> dict[str, Any]:
    """Return the JSON form of the flow. Raises `InvalidRequestError` if it is not valid."""
    if not isinstance(flow, Mapping | str | os.PathLike):
        kind = type(flow).__name__
        raise InvalidRequestError(f"a flow must be a path, a string or a dict, not {kind}; {_UNSENT}")
    if isinstance(flow, Mapping):
        definition = dict(flow)
    elif isinstance(flow, os.PathLike) or "\n" not in flow:
        file = Path(arguments.path(flow, "the flow file", InvalidRequestError))
        definition = _parse(await to_thread.run_sync(_read, file), f"{flow}: ")
    else:  # a flow never fits on one line of TOML
        definition = _parse(flow, "")
    check_json(definition, "")
    return definition


def ref_of(definition: dict[str, Any]) -> tuple[str, str]:
    """Return the name and the version of a definition. Raises `InvalidRequestError`."""
    for key in ("flow", "version"):
        if not isinstance(definition.get(key), str):
            raise InvalidRequestError(f"{key} is missing or not a string; {_UNSENT}")
    return split_ref(f"{definition['flow']}:{definition['version']}", "flow")


def split_ref(ref: str, name: str = "ref") -> tuple[str, str]:
    """Return the name and the version of `name:version`, which go into a URL. Raises `InvalidRequestError`."""
    match = _REF.fullmatch(ref) if isinstance(ref, str) else None
    if match is None:
        raise InvalidRequestError(
            f"{name}: {arguments.shown(ref)} is not a flow version such as 'customer_cleaner:v1'; {_UNSENT}"
        )
    return match[1], match[2]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
    raise InvalidRequestError(f"the flow file {file} can't be read: {reason}; {_UNSENT}")


def _parse(text: str, where: str) -> dict[str, Any]:
    import tomllib  # here: a first request does not need it

    try:
        return tomllib.loads(text.removeprefix("\ufeff"))  # the byte-order mark of some editors
    except tomllib.TOMLDecodeError as error:
        reason = of_toml(str(error))
    raise InvalidRequestError(f"{where}this is not TOML: {reason}; {_UNSENT}")


def check_json(value: Any, place: str) -> None:
    """Refuse values that JSON does not have, such as the dates of TOML, or does not preserve."""
    if isinstance(value, Mapping):
        for key, below in value.items():
            if not isinstance(key, str):
                raise InvalidRequestError(
                    f"{place or 'the flow'} has a key that is not a string, {key!r}; {_UNSENT}"
                )
            check_json(below, f"{place}.{key}" if place else key)
    elif isinstance(value, list):
        for number, below in enumerate(value):
            check_json(below, f"{place}[{number}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidRequestError(f"{place} must be a finite number, not {value!r}; {_UNSENT}")
    elif isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise InvalidRequestError(f"{place} must be a number of at most 64 bits; {_UNSENT}")
    elif value is not None and not isinstance(value, str | int | float):
        raise InvalidRequestError(f"{place} must be written as text in quotes, not as {value!r}; {_UNSENT}")


def proposal_request(
    flow_or_schema: str | JsonObject,
    samples: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    flow: str | None,
    source: JsonObject | None,
    choices: Choices | None,
    inline_lookups: bool,
    dry_run: bool,
    layout: str | None,
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
            raise ValueError("dry_run needs exactly one sample, and inline_lookups=True")
        body["dry_run"] = True
    if layout is not None:
        if not isinstance(layout, str) or not _NAME.fullmatch(layout):
            raise InvalidRequestError(f"layout: {arguments.shown(layout)} can't name a layout; {_UNSENT}")
        body["layout"] = layout
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
        name = flow or ""
        if flow is None:
            title = str(flow_or_schema.get("title") or "").partition(":")[0]
            if not (name := re.sub(r"[^A-Za-z0-9_-]+", "_", title).strip("_-").lower()[:64]):
                raise ValueError("flow is missing: flow_or_schema has no title to name the flow by")
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
