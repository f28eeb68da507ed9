"""URLs of object stores (`s3://bucket/key`, `gs://…`, `az://container/key`), of files on SFTP servers
(`sftp://user@host:port/path`) and of uploads (`upload://name`). Pure.
"""

import re

from attrs import frozen

from lume_async._base.controls import control_in
from lume_async._base.elided import elided

_STORE_URL = re.compile(r"(s3|gs|az)://([a-z0-9][a-z0-9._-]{1,62})(?:/(.*))?", re.DOTALL)


_UPLOAD = re.compile(r"upload://(?:[0-9a-f]{32}-(?=.))?(.*)", re.DOTALL)


def as_known(source_path: str) -> str:
    """Return a source path as its sender knows it: an upload's file name, without the unique part in front of it."""
    upload = _UPLOAD.fullmatch(source_path)
    return source_path if upload is None else upload[1]


class NotAStoreUrl(ValueError):
    """The URL is not valid; the message says why."""


def is_store_url(text: str) -> bool:
    """Return whether this is meant as the URL of an object store, valid or not."""
    return text.startswith(("s3://", "gs://", "az://"))


def split_store_url(url: str) -> tuple[str, str, str]:
    """Return scheme, bucket and key (empty for a bucket as a whole). Raises `NotAStoreUrl`.

    A key is taken literally: nothing in it is decoded, and no two spellings mean the same object.
    """
    match = _STORE_URL.fullmatch(url)
    if match is None:
        raise NotAStoreUrl(f"{url!r} is not the URL of an object: write scheme://bucket/key")
    scheme, bucket, key = match[1], match[2], match[3] or ""
    if any(part in (".", "..") for part in key.split("/")) or "//" in f"/{key}":
        raise NotAStoreUrl(f"{url!r} has a part that is empty, '.' or '..': remove it")
    if control_in(key):
        raise NotAStoreUrl(f"{url!r} contains a control character")
    return scheme, bucket, key


SFTP = "sftp://"
_SFTP_URL = re.compile(
    r"sftp://(?:(?P<user>[^@:/?#\s]{1,128})@)?(?P<host>[A-Za-z0-9][A-Za-z0-9._-]{0,252})"
    r"(?::(?P<port>[0-9]{1,5}))?(?P<path>/.*)?",
    re.DOTALL,
)
_DEFAULT_PORT, _LAST_PORT = 22, 65535
_HOME = "/~"
_SIGN_IN = re.compile(r"sftp://.*@", re.DOTALL)


class NotAnSftpUrl(ValueError):
    """The URL is not valid; the message says why."""


def is_sftp_url(text: str) -> bool:
    """Return whether this is meant as the URL of a file on an SFTP server, valid or not."""
    return text.startswith(SFTP)


@frozen
class SftpUrl:
    """The URL of a file. Build it with `of`.

    Attributes:
        user: the user to sign in as; empty for the account that this process runs under.
        path: begins with a slash; empty for the server as a whole.
    """

    user: str
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, text: str) -> "SftpUrl":
        """Parse a URL. A path is taken literally: nothing in it is decoded. Raises `NotAnSftpUrl`.

        The error repeats nothing before the last `@`: a password may be where none is expected.
        """
        shown = repr(elided(_SIGN_IN.sub(f"{SFTP}…@", text)))
        match = _SFTP_URL.fullmatch(text)
        port = int(match["port"] or _DEFAULT_PORT) if match else 0
        if match is None or not 0 < port <= _LAST_PORT:
            raise NotAnSftpUrl(
                f"{shown} is not the URL of a file: write sftp://user@host:port/path, without a password. How the "
                "server signs in is said by its root"
            )
        path = match["path"] or ""
        if any(part in (".", "..") for part in path.split("/")) or "//" in path:
            raise NotAnSftpUrl(f"{shown} has a part that is empty, '.' or '..': remove it")
        if control_in(path):
            raise NotAnSftpUrl(f"{shown} contains a control character")
        return cls(match["user"] or "", match["host"].lower(), port, path)

    @property
    def site(self) -> str:
        """The server as a URL, the same for all spellings that mean the same server."""
        user = f"{self.user}@" if self.user else ""
        return f"{SFTP}{user}{self.host}" + (f":{self.port}" if self.port != _DEFAULT_PORT else "")

    @property
    def text(self) -> str:
        return self.site + self.path

    @property
    def remote(self) -> str:
        """The path as it is sent to the server: `/~/…` is relative to the folder of the account."""
        if self.path == _HOME or self.path.startswith(f"{_HOME}/"):
            return self.path.removeprefix(_HOME).lstrip("/") or "."
        return self.path or "/"
