"""A root on an SFTP server: the folder below which URL files may be read, and how to sign in. Pure.

Only whoever starts the server sets both, so no flow or request can send a secret to another host.
"""

import re
from pathlib import Path
from urllib.parse import parse_qsl

from attrs import asdict, frozen

from lume_local._flow.urls import NotAnSftpUrl, SftpUrl

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
