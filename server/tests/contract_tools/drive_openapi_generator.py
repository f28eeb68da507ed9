"""A program over the client that openapi-generator has generated: python drive_… URL KEY FILE.

Sends a file, runs it, waits for its end, and prints the run, its rejected rows and the error of a repetition as JSON.
"""

import json
import sys
from pathlib import Path

import lume_generated  # type: ignore[import-not-found]

url, key, path = sys.argv[1:]
configuration = lume_generated.Configuration(host=url, api_key={"apiKey": key})
with lume_generated.ApiClient(configuration) as client:
    runs, uploads = lume_generated.RunsApi(client), lume_generated.UploadsApi(client)
    stored = uploads.put_upload(name="people.csv", body=Path(path).read_bytes())
    request = lume_generated.RunRequest(
        flow_version="people:v1", source_path=stored.source_path, run_metadata={"ticket": {"n": [1, None]}}
    )
    run = runs.submit_run(run_request=request, idempotency_key="k-1")
    while run.finished_at is None:
        # Without a tag: what this generator makes takes 304 for an error.
        run = runs.get_run(run_id=run.id, prefer="wait=1")
    try:
        runs.submit_run(run_request=request)
    except lume_generated.ApiException as error:
        again = [error.status, json.loads(error.body)]
    listed = runs.list_runs(status=[run.status, "FAILED"], limit=5)
json.dump(
    {
        "stored": stored.bytes,
        "run": json.loads(run.to_json()),
        "rejects": Path(run.metadata.target_locations.rejects).read_text(),
        "again": again,
        "listed": [one.id for one in listed.items],
    },
    sys.stdout,
)
