"""A root on an SFTP server: the folder whose files may be read, and how to sign in; and the failures of servers.

Only whoever starts the server sets both, so no flow or request can send a secret to another host. The messages of
failures give advice, and contain no secrets.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from urllib.parse import parse_qsl

from attrs import asdict, frozen

from lume_async._base.elided import elided
from lume_local._flow.urls import NotAnSftpUrl, SftpUrl
from lume_local._shared.failing import Obstacle

_OPTIONS = ("key_file", "passphrase_env", "password_env", "known_hosts")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


@frozen
class SftpRoot:
    """Create it with `of`.

    Attributes:
        url: the URL of the folder, normalized.
        key_file: a private key; without it and `password_env`, the agent and the keys in `~/.ssh` are tried.
        passphrase_env: the environment variable with the passphrase of that key.
        password_env: the environment variable with the password of the account.
        known_hosts: the file with the trusted host keys; empty for `~/.ssh/known_hosts`.
    """

    url: str
    key_file: str = ""
    passphrase_env: str = ""
    password_env: str = ""
    known_hosts: str = ""

    @classmethod
    def of(cls, text: str) -> "SftpRoot":
        """Parse a root such as `sftp://acme@host/out?key_file=/etc/lume/acme`. Raises `NotAnSftpUrl`."""
        url, _, query = text.partition("?")
        place = SftpUrl.of(url.rstrip("/"))
        options = dict(parse_qsl(query, keep_blank_values=True))
        for name, value in options.items():
            if name not in _OPTIONS:
                raise NotAnSftpUrl(f"{place.text}?{name}=… is not an option: there are {', '.join(_OPTIONS)}")
            if not value:
                raise NotAnSftpUrl(f"{place.text}?{name}= is empty")
            if name.endswith("_env") and not _VARIABLE.fullmatch(value):  # may be the secret itself
                raise NotAnSftpUrl(
                    f"{place.text}?{name}=… must name an environment variable of the server, such as ACME_PASSWORD"
                )
        if "passphrase_env" in options and "key_file" not in options:
            raise NotAnSftpUrl(f"{place.text}?passphrase_env=… has no meaning without key_file")
        return cls(place.text, **options)

    @property
    def place(self) -> SftpUrl:
        return SftpUrl.of(self.url)

    def holds(self, url: str) -> bool:
        """Return whether a URL, spelled as in `SftpUrl.text`, lies in this root."""
        return url.startswith(f"{self.url}/")

    @property
    def private(self) -> tuple[Path, ...]:
        """Files that no run may read or write."""
        named = filter(None, (self.key_file, self.known_hosts, "~/.ssh"))
        return tuple(Path(one).expanduser() for one in named)

    def plain(self) -> dict[str, str]:
        """Return it as JSON, which contains no secret."""
        return asdict(self)


CONNECT, ANSWER = 20.0, 60.0
"""Seconds to connect and sign in, and to an answer or the next 256 KiB of a file."""


class Cause(StrEnum):
    """Why a server, or a file on it, can't be used."""

    HOST_KEY = "host-key"
    AWAY = "away"
    DENIED = "denied"
    MISSING = "missing"
    OUTSIDE = "outside"
    REFUSED = "refused"


class SftpTrouble(Obstacle):
    """A server can't be used. The message says what to do."""

    def __init__(self, message: str, state: Cause) -> None:
        super().__init__(message, may_pass=state == Cause.AWAY)
        self.state = state


@contextmanager
def sftp_errors(url: str) -> Iterator[None]:
    """Convert errors of requests about `url` to `SftpTrouble`."""
    import asyncssh

    try:
        yield
    except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
        raise SftpTrouble(f"there is no file {url}", Cause.MISSING) from None
    except asyncssh.SFTPPermissionDenied:
        raise SftpTrouble(
            f"{url} can't be used: the server denies it to this account: ask its operator for the right to list and "
            "read there",
            Cause.DENIED,
        ) from None
    except (
        *(asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection),
        *(asyncssh.DisconnectError, asyncssh.ChannelOpenError),
    ) as error:
        raise cut(url, error) from None
    except asyncssh.SFTPError as error:
        raise SftpTrouble(
            f"{url} can't be used: the server says {elided(error.reason)!r}", Cause.REFUSED
        ) from None
    except TimeoutError:
        raise SftpTrouble(
            f"{url} can't be used: the server has not answered for {ANSWER:g} s", Cause.AWAY
        ) from None
    except OSError as error:
        raise cut(url, error) from None


def cut(url: str, error: Exception) -> SftpTrouble:
    """Return the error for a connection that has ended."""
    return SftpTrouble(f"{url} can't be used: the connection was cut: {elided(str(error))}", Cause.AWAY)
