"""`GET /docs`: the contract as a page, by Swagger UI as the package `flask-swagger-ui` ships it.

The files come from the installed package, so that the page works without the internet. Flask is not imported.
"""

from importlib.util import find_spec
from pathlib import Path

from lume_local._http.problems import Problem

_TYPES = {
    "swagger-ui.css": "text/css; charset=utf-8",
    "swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "favicon-32x32.png": "image/png",
}
"""The files that the page needs; no others are served."""
PAGE = b"""<!DOCTYPE html>
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


def page() -> bytes:
    """The page. Raises `Problem` where the viewer is not installed."""
    _folder()
    return PAGE


def file(name: str) -> tuple[bytes, str]:
    """A file of the page, and its content type. Raises `Problem` where there is none."""
    if name not in _TYPES:
        raise Problem("not-found", f"there is no file {name[:100]!r} for this page")
    return (_folder() / name).read_bytes(), _TYPES[name]


def _folder() -> Path:
    found = find_spec("flask_swagger_ui")
    if found is None or found.origin is None:
        raise Problem("not-found", "the viewer is not installed: pip install 'lume-client[viewer]'")
    return Path(found.origin).parent / "dist"
