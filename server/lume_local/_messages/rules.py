"""The rules of messages: the `[[message]]` tables of a file, which is reloaded when it changes.

A version of the file with a mistake is reported and not used.
"""

import hashlib
import logging
import os
import re
from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from attrs import frozen

from lume_async.errors import ConfigurationError
from lume_local._flow.fields import FlowError, Table
from lume_local._flow.mistakes import Mistakes, read_settings, top_table
from lume_local._runs.deliveries.notices import REFUSED
from lume_local._runs.unusual import NAME as UNUSUAL
from lume_local._shared.saved import OnReload, Reread, unnoticed

_log = logging.getLogger("lume_local")

TROUBLES = ("FAILED", "CRASHED", "PARTIAL_FAILED", REFUSED)
"""Events that a flow can recover from: unsuccessful ends of runs, and a refused file, which has no run."""
RECOVERED = "recovered"
EVENTS: tuple[str, ...] = (*TROUBLES, "SUCCEEDED", UNUSUAL, RECOVERED)
"""Events that a rule can name."""
OTHERS = ("arrival",)
"""Tables of the same file that other readers check."""
_MOST_NAMES = 20
_MOST_RULES = 100
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_RATE = re.compile(r"([0-9]{1,3}) in ([0-9]{1,5})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOST, _LONGEST = 100, 31 * 86_400
"""The maximums of `at_most`: messages, and seconds."""


@frozen
class Rate:
    """A maximum number of messages in a period, in seconds."""

    most: int
    period: float


@frozen
class MessageRule:
    """One `[[message]]` table.

    Attributes:
        flows: patterns with `*`, `?` and `[…]`; a pattern with a colon is compared with `flow:version`.
        rejected_above: the share of rejected rows above which a PARTIAL_FAILED run counts.
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
        """The key of its stored state, which changes only with events, flows and recipients."""
        said = orjson.dumps([sorted(self.on), sorted(self.flows), sorted(self.to)])
        return hashlib.sha256(said).hexdigest()[:16]

    @property
    def troubles(self) -> Collection[str]:
        """The events that put a flow in trouble."""
        return [status for status in TROUBLES if status in self.on] or TROUBLES[:2]

    def is_about(self, flow: str, flow_version: str) -> bool:
        """Return whether the rule applies. A refused file for the newest version has no version in `flow_version`."""
        if ":" not in flow_version:
            return any(fnmatchcase(flow, one.partition(":")[0]) for one in self.flows)
        return any(fnmatchcase(flow_version if ":" in one else flow, one) for one in self.flows)


DEFAULT_RATE = Rate(10, 600)


def read_rules(text: str) -> tuple[MessageRule, ...]:
    """Return the rules of a file, in order. Raises `FlowError` for the first mistake, with the `others`."""
    mistakes, top = Mistakes(text), top_table(text)
    none: list[dict[str, Any]] = []
    tables = mistakes.noting(lambda: top.tables("message"), none)
    for name in OTHERS:
        top.present(name)
    mistakes.noting(top.refuse_unknown, None)
    if len(tables) > _MOST_RULES:
        mistakes.add(FlowError("message", f"there are {len(tables)} tables; {_MOST_RULES} is the most"))
    rules, known = list[MessageRule](), dict[str, int]()
    for number, values in enumerate(tables):
        rule = _rule(Table(f"message[{number}]", values), mistakes)
        if rule is None:
            continue
        if rule.key in known:
            mistakes.add(
                FlowError(
                    f"message[{number}]",
                    f"has the same on, flows and to_env as message[{known[rule.key]}]: remove one of them",
                )
            )
        known.setdefault(rule.key, number)
        rules.append(rule)
    mistakes.check()
    return tuple(rules)


def _rule(table: Table, mistakes: Mistakes) -> MessageRule | None:
    """Return the rule of a table; None if it has a mistake."""
    before = len(mistakes)
    on = mistakes.noting(lambda: _words(table, "on"), EVENTS)
    for event in on:  # each must be a known event
        one = Table(table.place, {"on": event})
        mistakes.noting(partial(one.choice, "on", EVENTS, default=None), None)
    rule = MessageRule(
        on=on,
        flows=mistakes.noting(lambda: _words(table, "flows", ("*",)), ()),
        rejected_above=mistakes.noting(lambda: _share(table, on if {*on} <= {*EVENTS} else EVENTS), 0.0),
        to=mistakes.noting(lambda: _variables(table), ()),
        rate=mistakes.noting(lambda: _rate(table), DEFAULT_RATE),
        include_values=mistakes.noting(lambda: table.flag("include_values"), False),
    )
    mistakes.noting(table.refuse_unknown, None)
    return rule if len(mistakes) == before else None


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
        # The text may be an address, which is a secret: the message does not repeat it.
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


# -- the file


class RulesFile:
    """The rules of a server, and the addresses that they name.

    Raises:
        ConfigurationError: the file can't be read or has a mistake, or a variable that it names is not set.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = Reread(lambda: usable(path), "messages stay valid", path)
        self.on_reload: OnReload = unnoticed

    def current(self) -> tuple[MessageRule, ...]:
        if self._file.look():
            _log.warning("%s was read again: %d messages", self._path, len(self._file.value))
            self.on_reload(self._path, messages=len(self._file.value))
        return self._file.value

    def secrets(self) -> frozenset[str]:
        """Return the addresses, which no other process needs to know."""
        return frozenset(value for name in variables(self._file.value) if (value := os.environ.get(name)))


def usable(path: Path) -> tuple[MessageRule, ...]:
    """Return the rules of a file whose variables are all set. Raises `ConfigurationError`."""
    rules = checked(path)
    for name in variables(rules):
        if not os.environ.get(name, "").strip():
            raise ConfigurationError(f"messages: {path}: to_env names {name}, a variable that is not set")
    if rules:
        from lume_local._shared.failing import require  # slow to import, and not needed to check a file

        try:
            require("apprise", "messages", f"messages ({path})")
        except ModuleNotFoundError as error:
            raise ConfigurationError(str(error)) from None
    return rules


def checked(path: Path) -> tuple[MessageRule, ...]:
    """Return the rules of a file. Raises `ConfigurationError`, caused by a `FlowError` if the file has a mistake."""
    return read_settings(path, "messages", read_rules)


def variables(rules: Iterable[MessageRule]) -> list[str]:
    """Return the variables that the rules name, each once, in order."""
    return list(dict.fromkeys(name for rule in rules for name in rule.to))
