"""moto's server, but for one thing: it knows when an upload in parts was begun. moto itself says of all: in 2010."""

from datetime import UTC, datetime
from typing import Any

from moto.s3.models import FakeMultipart
from moto.s3.responses import S3Response
from moto.server import main

_begun: dict[str, str] = {}
_begin: Any = FakeMultipart.__init__
_serialized: Any = S3Response.serialized


def _begin_noted(self: FakeMultipart, *args: Any, **options: Any) -> None:
    _begin(self, *args, **options)
    _begun[self.id] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _dated(self: S3Response, answer: Any) -> Any:
    if self.data["Action"] == "ListMultipartUploads":
        for upload in answer.result["Uploads"]:
            upload["Initiated"] = _begun[upload["UploadId"]]
    return _serialized(self, answer)


if __name__ == "__main__":
    FakeMultipart.__init__ = _begin_noted  # type: ignore[method-assign]
    S3Response.serialized = _dated  # type: ignore[method-assign]
    main()
