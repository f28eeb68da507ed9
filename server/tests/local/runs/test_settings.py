"""Options of a server whose values make no sense: refused by their names, with what would do."""

import re
from datetime import timedelta
from typing import Any

import pytest

from lume_async.errors import ConfigurationError
from lume_local._serve.settings import ServerSettings

DAY = 86400.0
SECRET = "whisper"


def hooks(*hosts: str) -> dict[str, Any]:
    return {"webhook_secret": SECRET, "webhook_hosts": hosts}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        *(
            ({name: value}, f"{name} must be above 0")
            for name in ("run_timeout", "keep", "keep_uploads", "keep_output")
            for value in (0, -1.0, float("nan"), float("inf"), timedelta(0), timedelta.max)
        ),
        (
            {"run_timeout": 86400e9},
            r"above 0 and at most 10,000,000,000 seconds \(300 years\), or None for ever, not 86400000000000",
        ),
        ({"keep_runs": 3600}, "keep_runs must be at least 1 day, not 3600 seconds: write 1d "),
        ({"keep_runs": 90}, r"at least 1 day, not 90 seconds: write 90d \(in Python timedelta\(days=90\)\)"),
        ({"archive": "a"}, "archive needs keep_runs"),
        ({"keep_audit": 89 * DAY}, "keep_audit must be at least 90 days, not 89 days: write 90d"),
        ({"lineage_url": "marquez:5000"}, "lineage_url must be an http:// or https:// URL"),
        ({"lineage_url": "http://"}, "lineage_url must be"),
        ({"lineage_key": SECRET}, "lineage_key needs lineage_url"),
        ({"lineage_url": "http://m", "lineage_namespace": " "}, "lineage_namespace is empty"),
        *(
            ({"public_url": url}, "public_url must be an http:// or https:// URL")
            for url in ("lume.example.com", "ftp://x", "https://a:b@x", "https://x/?a", "https://x/#", "")
        ),
        ({"webhook_secret": ""}, "webhook_secret is empty"),
        ({"webhook_secret": b"  "}, "webhook_secret is empty"),
        (hooks("http://localhost"), "without scheme"),
        (hooks("localhost/x"), "without scheme"),
        *((hooks(name), "is not a valid host") for name in ("", "a.example:x", "a.example:99999")),
        (hooks("127.0.0.1"), r"is this machine: name it with its port, such as 127\.0\.0\.1:9000"),
        *(
            (hooks(name), "is this machine")
            for name in ("localhost", "LOCALHOST.", "x.localhost", "127.9.9.9")
        ),
        *((hooks(name), "is this machine") for name in ("::1", "[::1]", "0.0.0.0", "::", "::ffff:127.0.0.1")),
    ],
)
def test_settings_that_make_no_sense(options: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ServerSettings.of(None, "data", None, options)
    assert re.search(words, str(caught.value))
    assert SECRET not in str(caught.value)


def test_the_audit_may_be_kept_for_ever() -> None:
    assert ServerSettings.of(None, "data", None, {"keep_audit": None}).keep_audit is None
