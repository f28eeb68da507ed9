"""What a person says about how a sample is read: a part of `[source]`; the rest is guessed. Pure."""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from lume_local._flow.fields import FlowError

_TABLES = ("csv", "fixed", "json", "xml", "excel")


@frozen
class KnownSource:
    """The known part of a sample's `[source]`.

    Attributes:
        encoding: that of a text; None to guess it. `delim` and `sheet` likewise.
        members: patterns of the members of an archive; empty to guess them.
        said: the settings as given; None for a key that must not be set, whatever is guessed.
    """

    encoding: str | None = None
    delim: str | None = None
    sheet: str | int | None = None
    members: tuple[str, ...] = ()
    said: Mapping[str, Any] = field(factory=dict)

    @classmethod
    def of(cls, said: Mapping[str, Any], place: str) -> "KnownSource":
        """Return the known part. Raises `FlowError` for a value that guessing can't start from."""
        for key in _TABLES:
            if not isinstance(said.get(key, {}), dict):
                raise FlowError(f"{place}.{key}", "must be an object")
        csv, excel, members = said.get("csv", {}), said.get("excel", {}), said.get("members") or []
        encoding = csv.get("encoding", said.get("fixed", {}).get("encoding"))
        for where, value, kind in (
            ("csv.encoding", encoding, str),
            ("csv.delim", csv.get("delim"), str),
            ("excel.sheet", excel.get("sheet"), str | int),
        ):
            if value is not None and not (isinstance(value, kind) and value not in ("", False, True)):
                raise FlowError(
                    f"{place}.{where}", f"{value!r} can't be used: leave it out to have it guessed"
                )
        members = [members] if isinstance(members, str) else members
        if not isinstance(members, list) or not all(
            isinstance(one, str) and one.strip("/ ") for one in members
        ):
            raise FlowError(f"{place}.members", "must be a pattern of names in an archive, or a list of them")
        return cls(encoding, csv.get("delim"), excel.get("sheet"), tuple(members), said)

    def over(self, guessed: Mapping[str, Any]) -> dict[str, Any]:
        """Return the guessed settings with what is known in place of the guesses."""
        found = dict(guessed)
        for key, value in self.said.items():
            if key in _TABLES and key != guessed["format"]:
                continue  # what is known of a text that is no CSV has served to guess
            if value is None:
                found.pop(key, None)
            else:
                found[key] = {**found.get(key, {}), **value} if key in _TABLES else value
        return found
