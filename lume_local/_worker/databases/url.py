"""Where a database is: a URL from the environment, of which only the parts without secrets are ever shown."""

import os
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import field, frozen

from lume_local._worker.databases.database import DatabaseTrouble

SCHEMES = ("postgresql", "postgres", "sqlite")


@frozen
class DatabaseUrl:
    """Build it with `of`.

    Attributes:
        env: the environment variable that it comes from.
        text: the whole URL.
        scheme: `postgresql` or `sqlite`.
        shown: the URL without user, password and options.
        path: of a SQLite file.
    """

    env: str
    text: str = field(repr=False)
    scheme: str
    shown: str
    path: str
    secrets: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, env: str) -> "DatabaseUrl":
        """The URL in a variable. Raises `DatabaseTrouble`, whose message repeats nothing of the value."""
        text = os.environ.get(env, "").strip()
        if not text:
            raise DatabaseTrouble(
                f"the environment variable {env} is not set where the server runs: it must hold the URL of the "
                "database, such as postgresql://user:password@host/database or sqlite:////path/to/file.db"
            )
        try:
            parts = urlsplit(text)
            port, host = parts.port, parts.hostname
        except ValueError:
            raise DatabaseTrouble(_broken(env)) from None
        if parts.scheme not in SCHEMES:
            raise DatabaseTrouble(f"{env} must hold a URL that begins with postgresql:// or sqlite:///")
        if parts.scheme == "sqlite":
            return cls._sqlite(env, text, parts.netloc, unquote(parts.path))
        if parts.netloc.count("@") > 1 or "@" in parts.path or "," in parts.netloc or parts.fragment:
            raise DatabaseTrouble(_broken(env))
        options = dict(parse_qsl(parts.query))
        secrets = [parts.password or "", unquote(parts.password or ""), options.get("password", "")]
        where = f"[{host}]" if host and ":" in host else host or ""
        shown = f"postgresql://{where}{f':{port}' if port else ''}{parts.path}"
        return cls(env, text, "postgresql", shown, "", tuple(one for one in secrets if one))

    @classmethod
    def _sqlite(cls, env: str, text: str, netloc: str, path: str) -> "DatabaseUrl":
        if netloc or len(path) < 2:
            raise DatabaseTrouble(
                f"{env} must name a file: sqlite:////absolute/path or sqlite:///relative/path"
            )
        file = os.path.abspath(path[1:])
        return cls(env, text, "sqlite", f"sqlite:///{file}", file, ())

    def scrubbed(self, message: str) -> str:
        """A message of the database or its driver, on one line, without the password."""
        for secret in self.secrets:
            message = message.replace(secret, "***")
        return re.sub(r"\s+", " ", message).strip()


def _broken(env: str) -> str:
    return (
        f"{env} does not hold a valid URL of one database: write postgresql://user:password@host:port/database, with "
        "special characters in user and password percent-encoded (@ is %40, / is %2F, # is %23)"
    )
