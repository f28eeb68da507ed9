"""Validates bodies and headers: unknown, missing, oversized and ill-typed fields are refused by name. Pure.

Query parameters are validated by `queries.py`.
"""

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from lume_async._base.controls import control_in
from lume_local._http.exchange import Problem

MOST_BYTES, MOST_OPEN_BYTES = 1024 * 1024, 4096
"""The maximum size of a body, and of one on a path that needs no key."""
LARGE = 64 * 1024
"""The size from which parsing a body takes milliseconds, and is left to a thread."""
DRY_ROWS, _MOST_DRY_ROWS = 20, 1000
"""Rows of each kind in the response to a dry run."""
_MOST_METADATA = 64 * 1024
_HIGHEST = 9
"""The highest priority of a run; the default, and the lowest, is 0."""
_DEEPEST, _MOST_SEEDS, _LONGEST_WAIT = 32, 100, 60
_LONGEST: dict[str, int] = dict.fromkeys(("source_path", "seeds"), 4096)
_LONGEST |= dict.fromkeys(("flow", "flow_version", "to", "layout", "assignee", "owner"), 256)
_LONGEST |= {"webhook_url": 2048, "why": 500, "version": 64, "name": 64, "comment": 500}
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_WAIT = re.compile(r"\s*wait\s*=\s*(?:\"(\d{1,9})\"|(\d{1,9}))\s*(?:;.*)?", re.IGNORECASE)
_JSON = re.compile(r"\s*application/(json|[\w.!#$&^-]+\+json)\s*(;.*)?", re.IGNORECASE)
_TAG = re.compile(r'(?:W/)?"[^"]*"')
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_KINDS: dict[type, str] = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class SubmissionBody(NamedTuple):
    """The body of `POST /v1/runs`."""

    flow_version: str
    source_path: str
    run_metadata: dict[str, Any] | None
    force_rerun: bool
    webhook_url: str | None
    seeds: dict[str, str]
    dry_run: bool = False
    limit: int = DRY_ROWS
    priority: int = 0
    layout: str | None = None

    def fingerprint(self) -> str:
        """Return a text that is equal for two bodies with equal fields."""
        # A field that a release has added counts if it is given: keys are kept from one release to the next.
        more: list[Any] = [{name: value} for name in ("seeds", "layout") if (value := getattr(self, name))]
        more += [self.priority] if self.priority else []
        content = [self.flow_version, self.source_path, self.run_metadata, self.force_rerun, self.webhook_url]
        return hashlib.sha256(json.dumps(content + more, sort_keys=True).encode()).hexdigest()


def json_object(body: bytes, content_type: str | None = None) -> dict[str, Any]:
    """Return a body as a JSON object; another content type is refused. Raises `Problem`."""
    if content_type is not None and not _JSON.fullmatch(content_type):
        raise Problem(
            "unsupported-media-type", f"send application/json, not {content_type.partition(';')[0]}"
        )
    try:
        text = body.decode("utf-8-sig")
        value = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_without_twins)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # an escape may be half of a surrogate pair
    except (ValueError, RecursionError) as error:
        raise Problem("malformed-json", f"send one JSON object in UTF-8: {error}") from None
    if not isinstance(value, dict):
        raise Problem("malformed-json", f"send one JSON object, not {_kind(value)}")
    return value


def known_fields(body: bytes, content_type: str | None, names: Collection[str]) -> dict[str, Any]:
    """Return a body as a JSON object that has only these members. Raises `Problem`."""
    given = json_object(body, content_type)
    for name in given:
        if name not in names:
            raise field_problem(name[:100], f"is not a field here: there are {', '.join(names)}")
    return given


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object whose member names are unique: parsers disagree on which of two counts."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} appears twice")
        found[name] = value
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def submission(body: bytes, content_type: str | None = None) -> SubmissionBody:
    """Return the body of `POST /v1/runs`. Raises `Problem`."""
    given = known_fields(body, content_type, SubmissionBody._fields)
    dry_run = flag(given, "dry_run")
    if "limit" in given and not dry_run:
        raise field_problem("limit", "has no meaning without dry_run: remove it")
    return SubmissionBody(
        flow_version=line(given, "flow_version"),
        source_path=line(given, "source_path"),
        run_metadata=_metadata(given.get("run_metadata")),
        force_rerun=flag(given, "force_rerun"),
        webhook_url=optional_line(given, "webhook_url"),
        seeds=_seeds(given.get("seeds")),
        dry_run=dry_run,
        limit=_whole(given, "limit", DRY_ROWS, _MOST_DRY_ROWS),
        priority=_whole(given, "priority", 0, _HIGHEST),
        layout=optional_line(given, "layout"),
    )


def _seeds(value: Any) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _MOST_SEEDS:
        raise field_problem("seeds", f"must be an object with a few members; the maximum is {_MOST_SEEDS}")
    return {line({"seeds": name}, "seeds"): line({"seeds": path}, "seeds") for name, path in value.items()}


def flag(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise field_problem(name, f"must be true or false, not {_kind(value)}")
    return value


def _whole(fields: dict[str, Any], name: str, default: int, most: int) -> int:
    value = fields.get(name, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and 0 <= value <= most and float(value).is_integer()):
        raise field_problem(name, f"must be a whole number from 0 to {most:,}")
    return int(value)


def field_problem(name: str, problem: str) -> Problem:
    return Problem("invalid-field", f"{name}: {problem}", field=name)


def line(fields: dict[str, Any], name: str) -> str:
    if name not in fields:
        raise field_problem(name, "is missing")
    value = fields[name]
    if not isinstance(value, str):
        raise field_problem(name, f"must be a string, not {_kind(value)}")
    if not value.strip():
        raise field_problem(name, "is empty")
    if len(value) > _LONGEST[name]:
        raise field_problem(name, f"has {len(value):,} characters; the maximum is {_LONGEST[name]:,}")
    if control_in(value):
        raise field_problem(name, "contains a control character")
    return value


def optional_line(fields: dict[str, Any], name: str) -> str | None:
    return None if fields.get(name) is None else line(fields, name)


def _metadata(value: Any) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise field_problem("run_metadata", f"must be an object, not {_kind(value)}")
    _check_json(value, ("run_metadata",), _MOST_METADATA // 2)  # each takes two bytes: itself and a comma
    if len(json.dumps(value, ensure_ascii=False).encode()) > _MOST_METADATA:
        raise _too_large()
    return value


def _too_large() -> Problem:
    return field_problem("run_metadata", f"is larger than {_MOST_METADATA:,} bytes")


def _check_json(value: Any, place: tuple[str | int, ...], left: int) -> int:
    """Refuse values that JSON would not return unchanged, and more than `left` of them; return how many are left."""
    if len(place) > _DEEPEST:
        raise field_problem("run_metadata", f"is nested more than {_DEEPEST} levels deep")
    if not left:
        raise _too_large()
    left -= 1
    # JSON knows one kind of number: 1e20 and 100000000000000000000 are the same.
    if isinstance(value, int | float) and not -(2**63) <= value < 2**64:
        shown = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)[1:200]
        raise field_problem("run_metadata", f"{shown} is a number of more than 64 bits: send it as a string")
    if isinstance(value, dict | list):
        for part, below in value.items() if isinstance(value, dict) else enumerate(value):
            left = _check_json(below, (*place, part), left)
    return left


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "null")


def idempotency_key(headers: list[str]) -> str | None:
    """Return the idempotency key of a submission, literally: quotes are part of it. Raises `Problem`."""
    if len(headers) > 1:
        raise Problem("invalid-idempotency-key", "Idempotency-Key is given more than once: send one")
    if not headers:
        return None
    if not _KEY.fullmatch(headers[0]):
        raise Problem("invalid-idempotency-key", "Idempotency-Key must be 1 to 255 visible ASCII characters")
    return headers[0]


def traceparent(headers: list[str]) -> str | None:
    """Return the W3C trace context of a submission; an invalid one is ignored, as the standard requires."""
    if len(headers) != 1 or not (found := _TRACE.fullmatch(headers[0].strip())):
        return None
    return None if found[1] == "0" * 32 or found[2] == "0" * 16 else found[0]


def is_run_id(text: str) -> bool:
    return _RUN_ID.fullmatch(text) is not None


def wait_seconds(prefer: list[str]) -> int | None:
    """Return N of `Prefer: wait=N`, at most 60, or None. Invalid preferences are ignored, as RFC 7240 requires."""
    for header in prefer:
        for preference in header.split(","):
            match = _WAIT.fullmatch(preference)
            if match:
                return min(int(match[1] or match[2]), _LONGEST_WAIT)
    return None


def is_any(if_none_match: list[str]) -> bool:
    """Return whether `If-None-Match` is `*`: the request requires that the target does not exist."""
    return [header.strip() for header in if_none_match] == ["*"]


def matches(if_none_match: list[str], tag: str) -> bool:
    """Return whether `If-None-Match` names the tag (weakly), or `*`."""
    if is_any(if_none_match):
        return True
    text = ",".join(if_none_match)
    return any(found.removeprefix("W/") == tag.removeprefix("W/") for found in _TAG.findall(text))


def accepts(headers: Mapping[str, str], wanted: str, usual: str) -> bool:
    """Return whether `Accept` names a media type and does not prefer the usual one. Unreadable parts are ignored."""
    shares = {wanted: 0.0, usual: 0.0}
    for part in headers.get("Accept", "").split(","):
        name, *options = (text.strip().lower() for text in part.split(";"))
        quality = next((option[2:] for option in options if option.startswith("q=")), "1")
        if name in shares and re.fullmatch(r"[01](\.[0-9]{0,3})?", quality):
            shares[name] = float(quality)
    return shares[wanted] > 0 and shares[wanted] >= shares[usual]
