"""An S3 object as a target: uploaded in parts before the commit, and visible only after it.

S3 shows nothing of a multipart upload until its completion, a single request, like a rename for files. An incomplete
upload is kept, and paid for, until it is aborted; so it is noted before it begins, and its ID as soon as it has one.
"""

import math
import time
from pathlib import Path
from typing import Any

from lume_local._flow.store_urls import split_store_url
from lume_local._shared.identity import identity_of_copies
from lume_local._worker.object_stores import StoreTrouble, boto_errors, s3_client
from lume_local._worker.targets.target import Begin, Step, TargetError, refuse_overtaken

S3 = "s3"
"""The kind of its steps."""
_RUN = "lume-run"
"""The metadata of an object that names its run."""
_PART = 16 * 1024 * 1024
_MOST_PARTS = 9_000
"""S3 allows 10,000."""
_SKEW = 60
"""Seconds by which S3's clock may differ from ours."""
_BEGUN_WITHIN = 300
"""Seconds after its note within which an upload begins, or never: its request is given up before that."""


class S3Target:
    """See `Target`.

    Args:
        place: `{"kind": "s3", "url": …}`.
        run_id: is stored with the object.
    """

    def __init__(self, part: str, place: dict[str, Any], run_id: str) -> None:
        self._part, self._run_id = part, run_id
        self.location = self.place = place["url"]
        self.suffix = Path(self.location).suffix.lower()

    def check(self) -> None:
        """Check that the bucket exists and accepts the credentials."""
        _, bucket, _ = split_store_url(self.location)
        try:
            with boto_errors(f"s3://{bucket}"):
                # Its error has a reason, unlike HeadBucket's.
                s3_client().list_objects_v2(Bucket=bucket, MaxKeys=1)
        except StoreTrouble as trouble:
            raise TargetError(f"target.{self._part}: {trouble}") from None

    def prepare(self, built: Path, begin: Begin) -> Step:
        """Upload all parts, leaving only their completion."""
        step = {"kind": S3, "part": self._part, "url": self.location, "run": self._run_id, "from": str(built)}
        step["identity"] = identity_of_copies(built)
        begin(step | {"note": self._part, "since": time.time()})
        try:
            return step | _upload(step, lambda known: begin(known | {"note": self._part}))
        except StoreTrouble as trouble:
            raise TargetError(f"target.{self._part}: {trouble}") from None

    @staticmethod
    def publish(step: Step) -> None:
        """Complete the upload; repeat it if S3 has dropped it and the object is missing."""
        try:
            if "overtaken" in step:
                return None if _is_there(step) else refuse_overtaken(step)
            _complete_or_again(step)
        except StoreTrouble as trouble:
            raise TargetError(str(trouble), may_pass=trouble.may_pass) from None

    @staticmethod
    def abandon(step: Step) -> None:
        """Abort the upload; if its ID is unknown, all uploads that began for this key at that time."""
        try:
            for upload in [step["upload"]] if "upload" in step else _perhaps_its_own(step):
                _abort(step["url"], upload)
        except StoreTrouble as trouble:
            raise TargetError(str(trouble)) from None


def _upload(step: Step, begin: Begin) -> Step:
    """Upload all parts; return the step for completing them."""
    url, built = step["url"], Path(step["from"])
    _, bucket, key = split_store_url(url)
    client, parts = s3_client(), list[dict[str, Any]]()
    length = max(_PART, -(-built.stat().st_size // _MOST_PARTS))
    with boto_errors(url), built.open("rb") as file:
        made = client.create_multipart_upload(Bucket=bucket, Key=key, Metadata={_RUN: step["run"]})
        upload = made["UploadId"]
        begin(step | {"upload": upload})
        while (block := file.read(length)) or not parts:
            number = len(parts) + 1
            sent = client.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=block)
            parts.append({"PartNumber": number, "ETag": sent["ETag"]})
    return {"upload": upload, "parts": parts}


def _complete_or_again(step: Step) -> None:
    try:
        _complete(step)
    except StoreTrouble:
        if _is_there(step):
            return  # it was completed before, or now without an answer
        if step["upload"] in _begun(step):
            raise
        _complete(step | _upload(step, lambda _: None))


def _complete(step: Step) -> None:
    _, bucket, key = split_store_url(step["url"])
    with boto_errors(step["url"]):
        s3_client().complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=step["upload"], MultipartUpload={"Parts": step["parts"]}
        )


def _is_there(step: Step) -> bool:
    _, bucket, key = split_store_url(step["url"])
    try:
        with boto_errors(step["url"]):
            found = s3_client().head_object(Bucket=bucket, Key=key)
    except StoreTrouble as trouble:
        if trouble.is_missing:
            return False
        raise
    return bool(found["Metadata"].get(_RUN) == step["run"])


def _perhaps_its_own(step: Step) -> list[str]:
    """Return the uploads that may be the step's, as its process ended before it could note the ID.

    They began for this key at that time, and no other run has noted them as its own.
    """
    since = step.get("since", -math.inf)
    until = min(step.get("until", math.inf), step.get("since", math.inf) + _BEGUN_WITHIN)
    others = {one.get("upload") for one in step.get("others", ())}
    return [one for one in _begun(step, since - _SKEW, until + _SKEW) if one not in others]


def _begun(step: Step, since: float = -math.inf, until: float = math.inf) -> list[str]:
    """Return the uploads of this key that began at that time."""
    _, bucket, key = split_store_url(step["url"])
    with boto_errors(step["url"]):
        pages = s3_client().get_paginator("list_multipart_uploads").paginate(Bucket=bucket, Prefix=key)
        uploads = [one for page in pages for one in page.get("Uploads", []) if one["Key"] == key]
    return [one["UploadId"] for one in uploads if since <= one["Initiated"].timestamp() <= until]


def _abort(url: str, upload: str) -> None:
    _, bucket, key = split_store_url(url)
    try:
        with boto_errors(url):
            s3_client().abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload)
    except StoreTrouble as trouble:
        if not trouble.is_missing and trouble.code != "NoSuchBucket":
            raise
