"""`lume webhook verify`: a delivery, its signature, its secrets."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

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


@pytest.mark.parametrize("signature", [SIGNATURE[:-1] + "z", "0" * 64, ""])
def test_a_wrong_signature(signature: str) -> None:
    result = verify("--signature", signature, "--secret-env", "NEW_SECRET", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(result.stderr)["error"]["code"] == "webhook_signature"


def test_another_body_or_secret() -> None:
    assert verify("--signature", SIGNATURE, "--secret-env", "NEW_SECRET", stdin=BODY.strip()).exit_code == 1
    assert verify("--signature", SIGNATURE, "--secret-env", "OLD_SECRET").exit_code == 1
