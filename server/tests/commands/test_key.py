"""`lume key new`: the key is printed once, its digest is kept, and a server takes it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import lume_local
import lume_sync as lume
from lume_cli._app import app


def new(*words: str) -> Result:
    return CliRunner().invoke(app, ["key", "new", *words])


def test_a_key_that_a_server_takes(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    made = [new(role, "--role", role, "--keys", str(file)) for role in ("read", "submit", "admin")]
    assert [result.exit_code for result in made] == [0, 0, 0]
    keys = [result.stdout.strip() for result in made]
    text = file.read_text()
    assert not [key for key in keys if key in text]
    assert file.stat().st_mode & 0o777 == 0o600
    with lume_local.serve_in_thread(None, data=tmp_path / "data", keys=file) as server:
        for key in keys:
            with lume.Client(key, base_url=server.base_url) as client:
                assert list(client.list_runs()) == []


def test_as_json(tmp_path: Path) -> None:
    said = json.loads(new("ci", "--role", "read", "--keys", str(tmp_path / "k"), "--json").stdout)
    assert (said["name"], said["role"], len(said["key"])) == ("ci", "read", 43)


@pytest.mark.parametrize(
    ("words", "text", "message"),
    [
        (["ci", "--role", "root"], "", "is not one of 'read', 'submit', 'admin'"),
        (["a b", "--role", "read"], "", "letters, digits"),
        (["server", "--role", "read"], "", "is what the server's own key is called"),
        (["ci", "--role", "read"], "[ci]\n", "already has a key 'ci'"),
        (["ci", "--role", "read"], "[ci\n", "is not valid TOML"),
    ],
)
def test_wrong_usage(tmp_path: Path, words: list[str], text: str, message: str) -> None:
    (tmp_path / "keys.toml").write_text(text)
    result = new(*words, "--keys", str(tmp_path / "keys.toml"))
    assert (result.exit_code, message in " ".join(result.stderr.split())) == (2, True)
    assert (tmp_path / "keys.toml").read_text() == text


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    result = new("ci", "--role", "read", "--keys", str(tmp_path / "none" / "keys.toml"))
    assert (result.exit_code, "can't be changed" in result.stderr) == (1, True)
