"""The contract as the server publishes it: `openapi.yaml`, the same as JSON, and a page for people at `/docs`.

The page is Swagger UI, from the installed package `flask-swagger-ui`, so it works without the internet. Flask is not
imported.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from lume_local._http.problems import Problem

_FOLDER = Path(__file__).parents[1]
_TYPES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""The files of the page; no others are served."""
_PAGE = b"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Lume runs</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", validatorUrl: null})</script>
</body>
</html>
"""


@cache
def contract_yaml() -> bytes:
    """The text that people read and edit."""
    return (_FOLDER / "openapi.yaml").read_bytes()


@cache
def contract_json() -> bytes:
    """The same document for tools, made from it by `tools/openapi_json.py`."""
    return (_FOLDER / "openapi.json").read_bytes()


def viewer_page() -> bytes:
    """The page. Raises `Problem` if the viewer is not installed."""
    _viewer()
    return _PAGE


def viewer_file(name: str) -> tuple[bytes, str]:
    """A file of the page, and its content type. Raises `Problem` if it does not exist."""
    if name not in _TYPES:
        raise Problem("not-found", f"there is no file {name[:100]!r} for this page")
    return (_viewer() / name).read_bytes(), _TYPES[name]


def _viewer() -> Path:
    found = find_spec("flask_swagger_ui")
    if found is None or found.origin is None:
        raise Problem("not-found", "the viewer is not installed: pip install 'lume-client[viewer]'")
    return Path(found.origin).parent / "dist"
