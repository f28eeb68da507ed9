"""A program over the client that openapi-python-client has generated: python drive_… URL KEY FILE.

Sends a file, runs it, waits for its end, and prints the run, its rejected rows and the error of a repetition as JSON.
"""

import io
import json
import sys
from pathlib import Path

from lume_generated import AuthenticatedClient  # type: ignore[import-not-found]
from lume_generated.api.runs import get_run, list_runs, submit_run  # type: ignore[import-not-found]
from lume_generated.api.uploads import put_upload  # type: ignore[import-not-found]
from lume_generated.models import (  # type: ignore[import-not-found]
    RunRequest,
    RunRequestRunMetadataType0,
)
from lume_generated.types import File  # type: ignore[import-not-found]

url, key, path = sys.argv[1:]
client = AuthenticatedClient(
    base_url=url, token=key, prefix="", auth_header_name="lume-api-key", raise_on_unexpected_status=True
)
content = io.BytesIO(Path(path).read_bytes())
stored = put_upload.sync(name="people.csv", client=client, body=File(payload=content))
metadata = RunRequestRunMetadataType0.from_dict({"ticket": {"n": [1, None]}})
request = RunRequest(flow_version="people:v1", source_path=stored.source_path, run_metadata=metadata)
run = submit_run.sync(client=client, body=request, idempotency_key="k-1")
answer = get_run.sync_detailed(run_id=run.id, client=client)
while answer.parsed is None or answer.parsed.finished_at is None:
    tag = answer.headers["ETag"]
    answer = get_run.sync_detailed(run_id=run.id, client=client, prefer="wait=10", if_none_match=tag)
again = submit_run.sync_detailed(client=client, body=request)
listed = list_runs.sync(client=client, status=[answer.parsed.status, "FAILED"], limit=5)
json.dump(
    {
        "stored": stored.bytes_,
        "run": answer.parsed.to_dict(),
        "rejects": Path(answer.parsed.metadata.target_locations.rejects).read_text(),
        "again": [again.status_code, again.parsed.to_dict()],
        "listed": [one.id for one in listed.items],
    },
    sys.stdout,
)
