"""The file with the rules, reloaded when it changes. A version with a mistake is reported and not used."""

import logging
import os
from collections.abc import Iterable
from pathlib import Path

from lume_async.errors import ConfigurationError
from lume_local._flow.mistakes import read_settings
from lume_local._messages.rules import MessageRule, read_rules
from lume_local._shared.extras import require
from lume_local._shared.saved import OnReload, Reread, unnoticed

_log = logging.getLogger("lume_local")


class RulesFile:
    """The rules of a server, and the addresses that they name.

    Args:
        path: the path of the file.

    Attributes:
        on_reload: called after a reload.

    Raises:
        ConfigurationError: the file can't be read or has a mistake, or a variable that it names is not set.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = Reread(lambda: usable(path), "messages stay valid", path)
        self.on_reload: OnReload = unnoticed

    def current(self) -> tuple[MessageRule, ...]:
        """Return the rules now in effect."""
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
