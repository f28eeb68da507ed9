"""The contract as the server publishes it: `openapi.yaml`, the same as JSON, and a page for people at `/docs`.

The page is Swagger UI, from the installed package `flask-swagger-ui`, so it works without the internet. Flask is not
imported.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import orjson

from lume_local._http.messages import Ask, Problem, Reply, page_headers

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
<script src="/docs/start.js"></script>
</body>
</html>
"""
_START = "start.js"
_SCRIPT = b"""SwaggerUIBundle({url: "/openapi.json", dom_id: "#swagger-ui", validatorUrl: null})
"""
VIEWER_HEADERS = page_headers(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""For the page and its files: no other origins, no script in the page. Swagger UI has styles and images inline."""


@cache
def _document(name: str) -> bytes:
    return (_FOLDER / name).read_bytes()


@cache
def number() -> str:
    """The version of the contract."""
    found: str = orjson.loads(_document("openapi.json"))["info"]["version"]
    return found


async def openapi_yaml(ask: Ask) -> Reply:
    """The text that people read and edit."""
    return Reply(200, _document("openapi.yaml"), content_type="application/yaml")


async def openapi_json(ask: Ask) -> Reply:
    """The same document for tools, made from it by `server/tools/openapi_json.py`."""
    return Reply(200, _document("openapi.json"))


async def page(ask: Ask) -> Reply:
    """The page, which is not part of the contract. Raises `Problem` if the viewer is not installed."""
    _viewer()
    return Reply(200, _PAGE, VIEWER_HEADERS, "text/html; charset=utf-8")


async def file(ask: Ask) -> Reply:
    """A file of the page. Raises `Problem` if it does not exist."""
    name = ask.path["file"]
    if name == _START:
        return Reply(200, _SCRIPT, VIEWER_HEADERS, "text/javascript; charset=utf-8")
    if name not in _TYPES:
        raise Problem("not-found", f"there is no file {name!r} for this page")
    return Reply(200, (_viewer() / name).read_bytes(), VIEWER_HEADERS, _TYPES[name])


def _viewer() -> Path:
    found = find_spec("flask_swagger_ui")
    if found is None or found.origin is None:
        raise Problem("not-found", "the viewer is not installed: pip install 'lume-local[viewer]'")
    return Path(found.origin).parent / "dist"
