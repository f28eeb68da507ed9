"""The command that installs an extra of a distribution, from the same origin: index, checkout, archive."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lume_async._base.platform import command_line

CLIENT, SERVER = "lume-client", "lume-local"
_SERVER_FOLDER = "server"
"""The folder of the server in the repository."""


def require(module: str, extra: str, what: str, *, name: str = CLIENT) -> None:
    """Raise `ModuleNotFoundError`, with the command that installs the extra, if its module is not installed."""
    if find_spec(module) is None:
        raise ModuleNotFoundError(f"{what} needs {module}: {install_command(extra, name)}", name=module)


def install_command(extra: str = "", name: str = CLIENT) -> str:
    """Return the command that installs a distribution, with an extra; see `pip_install`."""
    requirement, origin = f"{name}[{extra}]" if extra else name, _origin(name)
    url = str(origin.get("url") or "")
    if url.startswith("file:"):
        from urllib.request import url2pathname  # here: it imports `http.client` and `ssl`

        path = url2pathname(urlsplit(url).path) + requirement.removeprefix(name)
        return pip_install(*(["-e"] if origin.get("dir_info", {}).get("editable") else []), path)
    if url:
        scheme = f"{vcs}+" if (vcs := origin.get("vcs_info", {}).get("vcs")) else ""
        folder = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
        requirement = f"{requirement} @ {scheme}{url}{folder}"
    return pip_install(requirement)


def pip_install(*requirement: str) -> str:
    """Return the command that installs into the running Python's environment, which may have no pip of its own."""
    python = sys.executable or "python"
    pip = (
        [python, "-m", "pip", "install"] if find_spec("pip") else ["uv", "pip", "install", "--python", python]
    )
    return command_line([*pip, *requirement])


def _origin(name: str) -> dict[str, Any]:
    """Return the origin of a distribution (PEP 610); empty for an index."""
    from importlib.metadata import PackageNotFoundError, distribution  # here: it imports `zipfile` and more

    try:
        text = distribution(name).read_text("direct_url.json")
    except PackageNotFoundError:
        if name == SERVER:  # its folder is in the client's repository
            client = _origin(CLIENT)
            if "dir_info" in client:
                return client | {"url": f"{client['url'].rstrip('/')}/{_SERVER_FOLDER}"}
            return client | {"subdirectory": _SERVER_FOLDER} if "vcs_info" in client else {}
        # A checkout on the path that was never installed.
        root = Path(__file__).resolve().parents[2]
        return {"url": root.as_uri(), "dir_info": {}} if (root / "pyproject.toml").is_file() else {}
    return json.loads(text) if text else {}
