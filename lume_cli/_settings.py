"""API key, base URL and timeout. Flags override the environment, which overrides the profile; if none has a base URL,
the server that `lume serve` started last in the nearest `.lume` folder is used.

The configuration file, `$XDG_CONFIG_HOME/lume/config.toml` or `~/.config/lume/config.toml`, has one table per
profile:

    [default]
    base_url = "https://lume.example.com"
    api_key = "..."
    request_timeout = 30
    webhook_secret = "..."
"""

import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from lume_async import ApiConnectionError, ConfigurationError
from lume_async._base.platform import IS_POSIX
from lume_cli._options import GlobalOptions
from lume_cli._server_file import ServerFile, nearest
from lume_cli._streams import secret_line

_KEYS: dict[str, tuple[type, ...]] = {
    "base_url": (str,),
    "api_key": (str,),
    "request_timeout": (int, float),
    "webhook_secret": (str,),
}
_SECRET = ("api_key", "webhook_secret")
_VARIABLES = {
    "base_url": "LUME_BASE_URL",
    "api_key": "LUME_API_KEY",
    "request_timeout": "LUME_REQUEST_TIMEOUT",
}
_WEBHOOK_VARIABLE = "LUME_WEBHOOK_SECRET"


class MissingKeyError(ConfigurationError):
    """No API key was found."""


class ResolvedSettings:
    """The settings found, and their origins; None if not found. No repr, so that it can't show the key."""

    def __init__(self) -> None:
        self.api_key: str | None = None
        self.base_url: str | None = None
        self.request_timeout: float | None = None
        self.profile = "default"
        self.origin: dict[str, str] = {}
        self.server: ServerFile | None = None
        """The server of the nearest `.lume` folder, if its URL is used."""

    def key(self) -> str:
        """Return the API key; called before each request.

        Raises `ApiConnectionError` if the server of the nearest `.lume` folder stopped: its port may be another's.
        """
        if self.server is not None and not self.server.is_running:
            error = ApiConnectionError(
                f"{self.base_url} does not respond: the server of {self.server.home} is not running",
                reached=False,
            )
            again = f"start it again: run `lume serve` in {self.server.home}, with the options that it had"
            error.add_note(again)
            raise error
        return self.api_key or ""

    def check(self) -> "ResolvedSettings":
        """Return these settings if they suffice to send a request. Raises `ConfigurationError` with the remedy."""
        if not self.base_url:
            raise ConfigurationError(
                "no base URL: set LUME_BASE_URL, pass --base-url, or add base_url to the profile "
                f"[{self.profile}] of {config_file()}; or start a server here with `lume serve`"
            )
        if not self.api_key:
            raise MissingKeyError(
                f"no API key: set LUME_API_KEY, add api_key to the profile [{self.profile}] of "
                f"{config_file()}, or pass --api-key-stdin"
            )
        return self

    def in_context(self, problem: str) -> str:
        """Return the client's error about a setting with its origin, and the base URL (without credentials)."""
        if problem.startswith("api_key ") and "api_key" in self.origin:
            return f"the API key from {self.origin['api_key']} {problem.removeprefix('api_key ')}"
        if not problem.startswith("base_url ") or self.base_url is None:
            return problem
        shown = re.split(r"[?#]", re.sub(r"^(\w*://)?.*@", r"\1", self.base_url.strip()))[0]
        words = problem.removeprefix("base_url ")
        return f"the base URL {shown!r}, from {self.origin['base_url']}, {words}"


def config_file() -> Path:
    """Return the configuration file; a relative XDG_CONFIG_HOME is ignored, as the XDG specification requires."""
    home = os.environ.get("XDG_CONFIG_HOME", "")
    folder = Path(home) if os.path.isabs(home) else Path("~/.config").expanduser()
    return folder / "lume" / "config.toml"


def resolve(options: GlobalOptions, warn: Callable[[str], None]) -> ResolvedSettings:
    """Find the settings. Raises `ConfigurationError` for a wrong file, `click.UsageError` for an unknown profile."""
    settings = ResolvedSettings()
    settings.profile, profile = _chosen(options, warn)
    _apply(settings, profile, f"profile [{settings.profile}]")
    for name, variable in _VARIABLES.items():
        _warn_of_both(options, profile, name, variable, warn)
        found = os.environ.get(variable)
        _apply(settings, {name: _number(found) if name == "request_timeout" else found}, variable)
    flags = {"base_url": options.base_url, "request_timeout": options.request_timeout}
    for name, value in flags.items():
        _apply(settings, {name: value}, "--" + name.replace("_", "-"))
    if not settings.base_url and (server := nearest()) is not None:
        # Its key belongs to its URL: a key from elsewhere is for another service.
        if settings.api_key and settings.api_key != server.api_key and not options.api_key_stdin:
            warn(
                f"the API key from {settings.origin['api_key']} is ignored: URL and key come from {server.path}; "
                "to use your key, also set LUME_BASE_URL"
            )
        settings.server = server
        _apply(settings, {"base_url": server.base_url, "api_key": server.api_key}, str(server.path))
    if options.api_key_stdin:
        key = os.fsdecode(secret_line("API key: ")).strip()
        if not key:
            raise MissingKeyError("--api-key-stdin: the first line of stdin is empty")
        _apply(settings, {"api_key": key}, "stdin")
    return settings


def webhook_secrets(
    options: GlobalOptions, variables: Sequence[str], *, from_stdin: bool, warn: Callable[[str], None]
) -> list[bytes]:
    """Return the secrets, at least one: of these variables and stdin, else of the environment or the profile.

    Raises:
        click.UsageError: there is none, or one is missing or blank.
        ConfigurationError: the configuration file is wrong.
    """
    missing = [name for name in variables if not os.environ.get(name)]
    if missing:
        raise click.UsageError(f"--secret-env: the variable {missing[0]} is not set")
    found = [os.fsencode(os.environ[name]) for name in variables]
    if from_stdin:
        found.append(secret_line("Webhook secret: "))
        if not found[-1]:
            raise click.UsageError("--secret-stdin: the first line of stdin is empty")
    if not found:
        name, profile = _chosen(options, warn)
        _warn_of_both(options, profile, "webhook_secret", _WEBHOOK_VARIABLE, warn)
        secret = os.environ.get(_WEBHOOK_VARIABLE) or profile.get("webhook_secret")
        if not secret:
            raise click.UsageError(
                f"no webhook secret: set {_WEBHOOK_VARIABLE}, add webhook_secret to the profile [{name}] of "
                f"{config_file()}, or pass --secret-env or --secret-stdin"
            )
        found = [os.fsencode(secret)]
    if any(not secret.strip() for secret in found):
        raise click.UsageError("the secret is blank, so anyone could sign; set a real one")
    return found


def _chosen(options: GlobalOptions, warn: Callable[[str], None]) -> tuple[str, dict[str, Any]]:
    """Return the profile's name and its settings."""
    asked = options.profile or os.environ.get("LUME_PROFILE") or None
    return asked or "default", _profile(asked or "default", warn, must_exist=asked is not None)


def _warn_of_both(
    options: GlobalOptions, profile: Mapping[str, Any], name: str, variable: str, warn: Callable[[str], None]
) -> None:
    if options.profile is not None and name in profile and os.environ.get(variable):
        warn(f"{variable} is set and overrides the profile [{options.profile}]; unset it to use the profile")


def _apply(settings: ResolvedSettings, values: Mapping[str, Any], origin: str) -> None:
    for name, value in values.items():
        if name in _VARIABLES and value not in (None, ""):
            setattr(settings, name, value)
            settings.origin[name] = origin


def _number(text: str | None) -> float | None:
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ConfigurationError(f"LUME_REQUEST_TIMEOUT must be a number of seconds above 0, not {text!r}")
    return number


def _profile(name: str, warn: Callable[[str], None], *, must_exist: bool) -> dict[str, Any]:
    path = config_file()
    tables = _tables(path)
    table = tables.get(name)
    if table is None:
        if must_exist:
            there = ", ".join(sorted(tables)) or "none"
            raise click.UsageError(f"no profile [{name}] in {path}; available: {there}")
        return {}
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: {name} must be a table: write [{name}]")
    for key, kinds in _KEYS.items():
        value = table.get(key)
        is_kind = isinstance(value, kinds) and not isinstance(value, bool)
        is_number = isinstance(value, int | float)
        if value is not None and not (is_kind and (not is_number or 0 < value < float("inf"))):
            wanted = "a quoted string" if kinds == (str,) else "a number of seconds above 0"
            raise ConfigurationError(f"{path}: [{name}] {key} must be {wanted}")
    for key in sorted(set(table) - set(_KEYS)):
        warn(f"{path}: [{name}] unknown setting {key} ignored; known settings: {', '.join(_KEYS)}")
    if others_can_read(path):
        held = {key for one in tables.values() if isinstance(one, dict) for key in _SECRET if key in one}
        if held:
            what = "an API key" if "api_key" in held else "a secret"
            warn(f"{path} contains {what} and is readable by others: chmod 600 {path}")
    return dict(table)


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    except UnicodeError:
        raise ConfigurationError(f"{path} is not UTF-8: save it as UTF-8") from None
    except OSError as error:
        raise ConfigurationError(f"{path} can't be read: {error.strerror or error}") from None


def others_can_read(path: Path) -> bool:
    """Return whether the file is readable by its group or by everybody."""
    try:
        return IS_POSIX and bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return False
