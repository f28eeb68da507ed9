"""Loaded by schemathesis itself: media types of the description that it does not know."""

import schemathesis

schemathesis.serializer.alias("application/partial-upload", "application/octet-stream")
