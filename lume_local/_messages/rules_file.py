"""The file with the rules, read again when it changes. A version with a mistake changes nothing, and is reported."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from lume_async._base.extras import require
from lume_async.errors import ConfigurationError
from lume_local._flow.fields import FlowError
from lume_local._messages.rules import MessageRule, read_rules
from lume_local._shared.saved import stamp

_log = logging.getLogger("lume_local")


class RulesFile:
    """The rules of a server, and the addresses that they name.

    Args:
        path: of the file.

    Raises:
        ConfigurationError: it can't be read, or has a mistake, or a variable that it names is not set.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._state, self._trouble = path, stamp(path), ""
        self._rules = usable(path)

    def current(self) -> tuple[MessageRule, ...]:
        """The rules that are valid now."""
        state = stamp(self._path)
        if state == self._state:
            return self._rules
        try:
            self._rules = usable(self._path)
        except ConfigurationError as error:
            # The cause may disappear without a change of the file: it is read again the next time.
            if str(error) != self._trouble:
                _log.error("%s; the previous messages stay valid", error)
            self._trouble = str(error)
        else:
            self._state, self._trouble = state, ""
            _log.warning("%s was read again: %d messages", self._path, len(self._rules))
        return self._rules

    def secrets(self) -> frozenset[str]:
        """The addresses, which no other process needs to know."""
        return frozenset(value for name in variables(self._rules) if (value := os.environ.get(name)))


def usable(path: Path) -> tuple[MessageRule, ...]:
    """The rules of a file, all of whose variables are set. Raises `ConfigurationError`."""
    rules = checked(path)
    for name in variables(rules):
        if not os.environ.get(name, "").strip():
            raise ConfigurationError(f"messages: {path}: to_env names {name}, a variable that is not set")
    if rules:
        try:
            require("apprise", "messages", f"messages ({path})")
        except ModuleNotFoundError as error:
            raise ConfigurationError(str(error)) from None
    return rules


def checked(path: Path) -> tuple[MessageRule, ...]:
    """The rules of a file. Raises `ConfigurationError`; its cause is a `FlowError` if the file has a mistake."""
    try:
        return read_rules(path.read_text("utf-8-sig"))
    except OSError as error:
        raise ConfigurationError(f"messages: {path} can't be read: {error.strerror or error}") from None
    except UnicodeError as error:
        raise ConfigurationError(f"messages: {path} is not UTF-8: {error}") from None
    except FlowError as error:
        raise ConfigurationError(f"messages: {error.located(path)}") from error


def variables(rules: Iterable[MessageRule]) -> list[str]:
    """The variables that the rules name, each once, in order."""
    return list(dict.fromkeys(name for rule in rules for name in rule.to))
