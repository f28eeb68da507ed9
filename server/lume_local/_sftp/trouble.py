"""Failures of SFTP servers, with advice. Messages contain no secrets."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from lume_async._base.elided import elided
from lume_local._shared.failing import Obstacle

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
    except (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.DisconnectError) as error:
        raise cut(url, error) from None
    except asyncssh.ChannelOpenError as error:
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
