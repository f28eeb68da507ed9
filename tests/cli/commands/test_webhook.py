"""`lume webhook verify`: a delivery, its signature, its secrets."""

import base64
import hashlib
import hmac
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from components import package

from lume_cli._app import app

BODY = b'{"event": "run.finished"}\n'
SIGNATURE = hmac.new(b"new secret", BODY, hashlib.sha256).hexdigest()


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLD_SECRET", "old secret")
    monkeypatch.setenv("NEW_SECRET", "new secret")


def verify(*command: str, stdin: bytes = BODY) -> Result:
    return CliRunner().invoke(app, ["webhook", "verify", *command], input=stdin)


def test_a_signed_body(tmp_path: Path) -> None:
    (tmp_path / "body").write_bytes(BODY)
    for words in ([], ["-"], [str(tmp_path / "body")]):
        result = verify("--signature", f"sha256={SIGNATURE}", "--secret-env", "NEW_SECRET", *words)
        assert (result.exit_code, result.stdout) == (0, "valid\n")


def test_any_of_several_secrets() -> None:
    command = ("--signature", SIGNATURE, "--secret-env", "OLD_SECRET", "--secret-env", "NEW_SECRET", "--json")
    assert json.loads(verify(*command).stdout) == {"valid": True}


def test_the_usual_variable_and_stdin(
    no_server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "body").write_bytes(BODY)
    none = verify("--signature", SIGNATURE)
    assert (none.exit_code, "no webhook secret: set LUME_WEBHOOK_SECRET" in none.stderr) == (2, True)
    command = ("--signature", SIGNATURE, "--secret-stdin")
    assert verify(*command, str(tmp_path / "body"), stdin=b"new secret\n").exit_code == 0
    both = verify(*command, stdin=b"new secret\n" + BODY)
    assert (both.exit_code, "pass the body as FILE" in both.stderr) == (2, True)
    monkeypatch.setenv("LUME_WEBHOOK_SECRET", "new secret")
    assert verify("--signature", SIGNATURE).exit_code == 0


@pytest.mark.parametrize("signature", [SIGNATURE[:-1] + "z", "0" * 64, ""])
def test_a_wrong_signature(signature: str) -> None:
    result = verify("--signature", signature, "--secret-env", "NEW_SECRET", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(result.stderr)["error"]["code"] == "webhook_signature"


def test_another_body_or_secret() -> None:
    assert verify("--signature", SIGNATURE, "--secret-env", "NEW_SECRET", stdin=BODY.strip()).exit_code == 1
    assert verify("--signature", SIGNATURE, "--secret-env", "OLD_SECRET").exit_code == 1


def standard(at: int, secret: bytes = b"new secret") -> list[str]:
    """The options for what a library for Standard Webhooks has signed then."""
    webhook = package("standardwebhooks").Webhook(base64.b64encode(secret).decode())
    signature = webhook.sign("dlv_1", datetime.fromtimestamp(at, UTC), BODY.decode())
    return ["--signature", signature, "--id", "dlv_1", "--timestamp", str(at)]


def test_the_headers_of_standard_webhooks() -> None:
    now = int(time.time())
    both = ["--secret-env", "OLD_SECRET", "--secret-env", "NEW_SECRET"]
    assert verify(*standard(now), *both).exit_code == 0
    assert verify(*standard(now, b"old secret"), *both).exit_code == 0
    assert verify(*standard(now, b"another"), *both).exit_code == 1
    signature, *_ = standard(now, b"another")[1:]
    several = ["--signature", f"{signature} {standard(now)[1]}", *standard(now)[2:]]
    assert verify(*several, *both).exit_code == 0
    assert verify(*standard(now)[:-1], str(now + 1), *both).exit_code == 1


def test_a_delivery_from_long_ago() -> None:
    old = standard(int(time.time()) - 1000)
    refused = verify(*old, "--secret-env", "NEW_SECRET")
    assert (refused.exit_code, "more than 300 s" in refused.stderr) == (1, True)
    assert verify(*old, "--secret-env", "NEW_SECRET", "--tolerance", "20m").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--signature", "v1,AAAA"],
        ["--signature", "v1,AAAA", "--id", "dlv_1"],
        ["--signature", "v1,AAAA", "--timestamp", "1"],
        ["--signature", SIGNATURE, "--id", "dlv_1", "--timestamp", "1"],
    ],
)
def test_headers_that_belong_together(words: list[str]) -> None:
    result = verify(*words, "--secret-env", "NEW_SECRET")
    assert (result.exit_code, "belong together" in result.stderr) == (2, True)
