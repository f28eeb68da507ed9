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
