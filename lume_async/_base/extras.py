"""The command that installs an extra of this distribution, from where it was installed: index, checkout, archive."""

import json
import sys
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from lume_async._base.platform import command_line

_NAME = "lume-client"


def require(module: str, extra: str, what: str) -> None:
    """Raises `ModuleNotFoundError`, with the command that installs the extra, if its module is not installed."""
    if find_spec(module) is None:
        raise ModuleNotFoundError(f"{what} needs {module}: {install_command(extra)}", name=module)


def install_command(extra: str) -> str:
    """The command that installs an extra of this distribution; see `pip_install`."""
    return pip_install(*_requirement(extra))


def pip_install(*requirement: str) -> str:
    """The command that installs something into the running Python's environment, which may have no pip of its own."""
    python = sys.executable or "python"
    pip = (
        [python, "-m", "pip", "install"] if find_spec("pip") else ["uv", "pip", "install", "--python", python]
    )
    return command_line([*pip, *requirement])


def _requirement(extra: str) -> list[str]:
    origin = _origin()
    url = str(origin.get("url") or "")
    if url.startswith("file:"):
        path = url2pathname(urlsplit(url).path)
        return [*(["-e"] if origin.get("dir_info", {}).get("editable") else []), f"{path}[{extra}]"]
    if url:
        scheme = f"{vcs}+" if (vcs := origin.get("vcs_info", {}).get("vcs")) else ""
        return [f"{_NAME}[{extra}] @ {scheme}{url}"]
    return [f"{_NAME}[{extra}]"]


def _origin() -> dict[str, Any]:
    """Where this distribution was installed from (PEP 610); empty for an index."""
    try:
        text = distribution(_NAME).read_text("direct_url.json")
    except PackageNotFoundError:  # a checkout on the path that was never installed
        root = Path(__file__).resolve().parents[2]
        return {"url": root.as_uri()} if (root / "pyproject.toml").is_file() else {}
    return json.loads(text) if text else {}
