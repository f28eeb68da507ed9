"""The rules of messages: the `[[message]]` tables of a file, checked. Pure."""

import hashlib
import re
import tomllib
from collections.abc import Collection
from fnmatch import fnmatchcase
from typing import Any

import orjson
from attrs import frozen

from lume_local._flow.fields import FlowError, Table
from lume_local._flow.lines import with_line
from lume_local._runs.deliveries.notices import REFUSED
from lume_local._runs.unusual import NAME as UNUSUAL

TROUBLES = ("FAILED", "CRASHED", "PARTIAL_FAILED")
"""The ends of runs after which a flow can recover."""
RECOVERED = "recovered"
EVENTS = (*TROUBLES, "SUCCEEDED", REFUSED, UNUSUAL, RECOVERED)
"""What a rule can be about."""
OTHERS = ("arrival",)
"""Tables of the same file that other readers check."""
_MOST_NAMES = 20
_MOST_RULES = 100
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RATE = re.compile(r"([0-9]{1,3}) in ([0-9]{1,5})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOST, _LONGEST = 100, 31 * 86_400
"""The limits of `at_most`: messages, and seconds."""


@frozen
class Rate:
    """At most so many messages in each period of so many seconds."""

    most: int
    period: float


@frozen
class MessageRule:
    """One `[[message]]` table.

    Attributes:
        flows: patterns with `*`, `?` and `[…]`; one with a colon is compared with `flow:version`.
        rejected_above: the share of rejected rows from which on a PARTIAL_FAILED run counts.
        to: environment variables that hold the addresses.
    """

    on: tuple[str, ...]
    flows: tuple[str, ...]
    rejected_above: float
    to: tuple[str, ...]
    rate: Rate
    include_values: bool

    @property
    def key(self) -> str:
        """Under which its state is remembered: the same after a change of what is not about whom and what."""
        said = orjson.dumps([sorted(self.on), sorted(self.flows), sorted(self.to)])
        return hashlib.sha256(said).hexdigest()[:16]

    @property
    def troubles(self) -> Collection[str]:
        """The ends of runs after which a flow is in trouble."""
        return [status for status in TROUBLES if status in self.on] or TROUBLES[:2]

    def is_about(self, flow: str, flow_version: str) -> bool:
        return any(fnmatchcase(flow_version if ":" in one else flow, one) for one in self.flows)


DEFAULT_RATE = Rate(10, 600)


def read_rules(text: str) -> tuple[MessageRule, ...]:
    """The rules of a file, in order. Raises `FlowError` with its line; its `others` are those of further tables."""
    try:
        top = Table("", tomllib.loads(text))
    except ValueError as error:
        raise with_line(FlowError("", f"is not TOML: {error}"), text) from None
    rules, mistakes = list[MessageRule](), list[FlowError]()
    try:
        tables = top.tables("message")
        for name in OTHERS:
            top.present(name)
        top.no_more()
        if len(tables) > _MOST_RULES:
            raise FlowError("message", f"there are {len(tables)} tables; {_MOST_RULES} is the most")
    except FlowError as error:
        raise with_line(error, text) from None
    for number, values in enumerate(tables):
        place = f"message[{number}]"
        try:
            rules.append(_rule(Table(place, values), {rule.key: n for n, rule in enumerate(rules)}))
        except FlowError as error:
            mistakes.append(with_line(error, text))
    if mistakes:
        mistakes[0].others = tuple(mistakes[1:])
        raise mistakes[0]
    return tuple(rules)


def _rule(table: Table, known: dict[str, int]) -> MessageRule:
    on = _words(table, "on")
    for event in on:
        Table(table.place, {"on": event}).choice("on", EVENTS, default=None)
    rule = MessageRule(
        on=on,
        flows=_words(table, "flows", ("*",)),
        rejected_above=_share(table, on),
        to=_variables(table),
        rate=_rate(table),
        include_values=table.flag("include_values"),
    )
    table.no_more()
    if rule.key in known:
        raise FlowError(
            table.place,
            f"has the same on, flows and to_env as message[{known[rule.key]}]: remove one of them",
        )
    return rule


def _words(table: Table, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
    if default is not None and not table.present(key):
        return default
    if not table.present(key):
        raise FlowError(table.at(key), "is missing: it must be a list of strings")
    values = table.values[key]
    fits = isinstance(values, list) and all(isinstance(one, str) and one.strip() for one in values)
    if not fits or not 1 <= len(values) <= _MOST_NAMES:
        raise FlowError(table.at(key), f"must be a list of 1 to {_MOST_NAMES} strings")
    if len(set(values)) < len(values):
        raise FlowError(table.at(key), "names something twice")
    return tuple(values)


def _variables(table: Table) -> tuple[str, ...]:
    names = _words(table, "to_env")
    if not all(map(_VARIABLE.fullmatch, names)):
        # What stands there may be an address, which is a secret: it is not repeated.
        raise FlowError(
            table.at("to_env"),
            "must have the names of environment variables, such as SLACK_URL, that hold the addresses",
        )
    return names


def _share(table: Table, on: tuple[str, ...]) -> float:
    share = table.number("rejected_above")
    if share is None:
        return 0.0
    if "PARTIAL_FAILED" not in on:
        raise FlowError(table.at("rejected_above"), "is about PARTIAL_FAILED, which is not in on")
    if not 0 <= share < 1:
        raise FlowError(table.at("rejected_above"), "must be a share from 0 to below 1, such as 0.05 for 5 %")
    return share


def _rate(table: Table) -> Rate:
    text: Any = table.text("at_most", default="")
    if not table.present("at_most"):
        return DEFAULT_RATE
    found = _RATE.fullmatch(text)
    if found is None:
        raise FlowError(table.at("at_most"), f'{text!r} must be as in "1 in 10m": the units are s, m, h, d')
    most, period = int(found[1]), int(found[2]) * _UNITS[found[3]]
    if not 1 <= most <= _MOST or not 1 <= period <= _LONGEST:
        raise FlowError(table.at("at_most"), f"{text!r} must be 1 to {_MOST} messages in 1s to 31d")
    return Rate(most, float(period))
