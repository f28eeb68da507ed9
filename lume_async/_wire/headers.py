"""The headers of the wire contract, by name.

They are `istr`: aiohttp's header maps convert any other string to lower case at each lookup.
"""

from multidict import istr

API_KEY = istr("lume-api-key")
CAPABILITIES = istr("Lume-Capabilities")
CONTENT_ENCODING = istr("Content-Encoding")
CONTENT_LENGTH = istr("Content-Length")
CONTENT_TYPE = istr("Content-Type")
DATE = istr("Date")
ETAG = istr("ETag")
IDEMPOTENCY_KEY = istr("Idempotency-Key")
IDEMPOTENCY_EXPIRES = istr("Lume-Idempotency-Expires")
IF_NONE_MATCH = istr("If-None-Match")
PREFER = istr("Prefer")
RATE_LIMIT = istr("RateLimit")
RATE_LIMIT_POLICY = istr("RateLimit-Policy")
REQUEST_ID = istr("X-Request-Id")
RETRY_AFTER = istr("Retry-After")
