"""moto's server, but for two things: it knows when an upload in parts was begun, and lets Google's tokens in.

moto itself says of all uploads that they were begun in 2010. The XML interface of Google's store, uploads in parts
included, is S3's with another kind of authorization, which no emulator of Google's store has.
"""

from datetime import UTC, datetime
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication
from moto.s3.models import FakeMultipart
from moto.s3.responses import S3Response
from moto.server import main

_begun: dict[str, str] = {}
_begin: Any = FakeMultipart.__init__
_serialized: Any = S3Response.serialized
_answer: Any = DomainDispatcherApplication.__call__
_S3 = (
    "AWS4-HMAC-SHA256 Credential=testing/20240101/eu-west-1/s3/aws4_request, SignedHeaders=host, Signature=0"
)


def _begin_noted(self: FakeMultipart, *args: Any, **options: Any) -> None:
    _begin(self, *args, **options)
    _begun[self.id] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _dated(self: S3Response, answer: Any) -> Any:
    if self.data["Action"] == "ListMultipartUploads":
        for upload in answer.result["Uploads"]:
            upload["Initiated"] = _begun[upload["UploadId"]]
    return _serialized(self, answer)


def _with_tokens(self: DomainDispatcherApplication, environ: dict[str, Any], start: Any) -> Any:
    if not environ.get("HTTP_AUTHORIZATION", "").startswith("AWS"):  # a token, or none where it is empty
        environ["HTTP_AUTHORIZATION"] = _S3
    return _answer(self, environ, start)


if __name__ == "__main__":
    FakeMultipart.__init__ = _begin_noted  # type: ignore[method-assign]
    S3Response.serialized = _dated  # type: ignore[method-assign]
    DomainDispatcherApplication.__call__ = _with_tokens  # type: ignore[method-assign]
    main()
