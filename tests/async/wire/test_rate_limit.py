"""What a refusal's headers say of the limit, in the form of draft-ietf-httpapi-ratelimit-headers-11."""

import pytest
from multidict import CIMultiDict

from lume_async._wire.answers import Refusal, refusal_in

POLICY = '"minute";q=600;w=60'


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({}, Refusal()),
        ({"Retry-After": "7"}, Refusal(wait=7.0)),
        ({"RateLimit-Policy": POLICY}, Refusal()),  # which of its policies refused, it doesn't say
        ({"RateLimit-Policy": POLICY, "RateLimit": '"minute";r=0;t=37'}, Refusal(37.0, 10.0)),
        ({"ratelimit-policy": POLICY, "ratelimit": '"minute";r=0;t=37'}, Refusal(37.0, 10.0)),
        ({"RateLimit-Policy": POLICY, "RateLimit": '"minute" ; r=0 ; t=37'}, Refusal(37.0, 10.0)),
        # the Retry-After counts, not the window
        (
            {"RateLimit-Policy": POLICY, "RateLimit": '"minute";r=0;t=37', "Retry-After": "9"},
            Refusal(9.0, 10.0),
        ),
        ({"RateLimit": '"minute";r=0;t=37'}, Refusal(37.0, None)),
        ({"RateLimit-Policy": POLICY, "RateLimit": '"minute";r=0'}, Refusal(None, 10.0)),
        ({"RateLimit-Policy": POLICY, "RateLimit": '"minute";r=5;t=37'}, Refusal()),  # not exhausted
        ({"RateLimit-Policy": POLICY, "RateLimit": '"hour";r=0;t=37'}, Refusal(37.0, None)),
        (
            {
                "RateLimit-Policy": f'{POLICY}, "day";q=86400;w=86400',
                "RateLimit": '"minute";r=9, "day";r=0;t=5',
            },
            Refusal(5.0, 1.0),
        ),
        (
            {
                "RateLimit-Policy": f'{POLICY}, "second";q=50;w=1',
                "RateLimit": '"minute";r=0;t=9,"second";r=0;t=1',
            },
            Refusal(9.0, 10.0),  # both are exhausted: the slower one, and the longer time
        ),
        (
            {
                "RateLimit-Policy": '"a,\\"b;";pk=:c2Rm:;qu="requests";q=5;w=1',
                "RateLimit": '"a,\\"b;";r=0;t=1',
            },
            Refusal(1.0, 5.0),
        ),
        # units that are no requests a second
        (
            {"RateLimit-Policy": '"x";q=9;w=1;qu="content-bytes"', "RateLimit": '"x";r=0;t=1'},
            Refusal(1.0, None),
        ),
        ({"RateLimit-Policy": '"x";q=9;qu="concurrent-requests"', "RateLimit": '"x";r=0'}, Refusal()),
        # malformed fields are ignored
        ({"RateLimit-Policy": POLICY, "RateLimit": "limit=600, remaining=0, reset=37"}, Refusal()),
        ({"RateLimit-Policy": POLICY, "RateLimit": '"minute";r=zero;t=37'}, Refusal()),
        ({"RateLimit-Policy": POLICY, "RateLimit": '"minute";r=0;t=-1'}, Refusal(None, 10.0)),
        ({"RateLimit-Policy": '"minute";q=600;w=0', "RateLimit": '"minute";r=0;t=1'}, Refusal(1.0, None)),
        ({"RateLimit-Policy": '"minute";q=0;w=60', "RateLimit": '"minute";r=0;t=1'}, Refusal(1.0, None)),
        ({"RateLimit-Policy": '"minute";q=1.5;w=60', "RateLimit": '"minute";r=0;t=1'}, Refusal(1.0, None)),
        ({"RateLimit-Policy": "", "RateLimit": ""}, Refusal()),
        ({"RateLimit": '"' * 5_000}, Refusal()),
        ({"RateLimit": ';r=0;t=1"' * 1_000}, Refusal()),
    ],
)
def test_a_refusal(headers: dict[str, str], refusal: Refusal) -> None:
    assert refusal_in(CIMultiDict(headers)) == refusal
