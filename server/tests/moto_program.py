"""moto's server, which also lets Google's tokens in.

The XML interface of Google's store, uploads in parts included, is S3's with another kind of authorization, which no
emulator of Google's store has.
"""

from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.server import main

_answer: Any = DomainDispatcherApplication.__call__
_S3 = (
    "AWS4-HMAC-SHA256 Credential=testing/20240101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


def _with_tokens(self: DomainDispatcherApplication, environ: dict[str, Any], start: Any) -> Any:
    if not environ.get("HTTP_AUTHORIZATION", "").startswith("AWS"):  # a token, or none where it is empty
        environ["HTTP_AUTHORIZATION"] = _S3
    return _answer(self, environ, start)


if __name__ == "__main__":
    DomainDispatcherApplication.__call__ = _with_tokens  # type: ignore[method-assign]
    main()
