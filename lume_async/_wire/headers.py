"""The headers of the wire contract, by name.

They are `istr`: aiohttp's header maps convert any other string to lower case at each lookup.
"""

from multidict import istr

API_KEY = istr("lume-api-key")
AUTHORIZATION = istr("Authorization")
CAPABILITIES = istr("Lume-Capabilities")
ACCEPT = istr("Accept")
ACCEPT_ENCODING = istr("Accept-Encoding")
CONTENT_DISPOSITION = istr("Content-Disposition")
CONTENT_ENCODING = istr("Content-Encoding")
CONTENT_LENGTH = istr("Content-Length")
CONTENT_RANGE = istr("Content-Range")
CONTENT_TYPE = istr("Content-Type")
DATE = istr("Date")
ETAG = istr("ETag")
IDEMPOTENCY_KEY = istr("Idempotency-Key")
IDEMPOTENCY_EXPIRES = istr("Lume-Idempotency-Expires")
IF_NONE_MATCH = istr("If-None-Match")
IF_RANGE = istr("If-Range")
NEXT_CURSOR = istr("Lume-Next-Cursor")
PREFER = istr("Prefer")
RANGE = istr("Range")
RATE_LIMIT = istr("RateLimit")
RATE_LIMIT_POLICY = istr("RateLimit-Policy")
REPR_DIGEST = istr("Repr-Digest")
REQUEST_ID = istr("X-Request-Id")
RETRY_AFTER = istr("Retry-After")
UPLOAD_COMPLETE = istr("Upload-Complete")
UPLOAD_LENGTH = istr("Upload-Length")
UPLOAD_OFFSET = istr("Upload-Offset")
USER_AGENT = istr("User-Agent")
WANT_REPR_DIGEST = istr("Want-Repr-Digest")
