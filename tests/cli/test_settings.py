"""Where key, URL and time limit come from: flag, environment, profile, default."""

import io
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lume_async import ConfigurationError
from lume_cli._app import app
from lume_cli._options import GlobalOptions
from lume_cli._settings import MissingKeyError, ResolvedSettings, config_file, resolve

CONFIG = """
[default]
base_url = "http://default.test"
api_key = "default-key"

[staging]
base_url = "http://staging.test"
api_key = "staging-key"
request_timeout = 7
"""


def write(text: str, mode: int = 0o600) -> Path:
    path = config_file()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def found(**said: object) -> tuple[ResolvedSettings, list[str]]:
    options, warnings = GlobalOptions(), list[str]()
    for name, value in said.items():
        setattr(options, name, value)
    return resolve(options, warnings.append), warnings


def test_nothing_at_all(no_server: Path) -> None:
    settings, warnings = found()
    assert (settings.api_key, settings.base_url, settings.request_timeout, warnings) == (None, None, None, [])
    with pytest.raises(ConfigurationError, match="no base URL"):
        settings.check()
    settings.base_url = "http://lume.test"
    with pytest.raises(MissingKeyError, match="set LUME_API_KEY"):
        settings.check()


def test_the_default_profile(no_server: Path) -> None:
    write(CONFIG)
    settings, warnings = found()
    assert (settings.api_key, settings.base_url, warnings) == ("default-key", "http://default.test", [])


def test_flag_beats_environment_beats_profile(no_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(CONFIG)
    settings, _ = found(profile="staging")
    assert (settings.base_url, settings.request_timeout) == ("http://staging.test", 7)
    monkeypatch.setenv("LUME_BASE_URL", "http://environment.test")
    monkeypatch.setenv("LUME_REQUEST_TIMEOUT", "8.5")
    settings, warnings = found(profile="staging")
    assert (settings.base_url, settings.request_timeout) == ("http://environment.test", 8.5)
    assert settings.api_key == "staging-key"
    assert any("LUME_BASE_URL is set and overrides the profile [staging]" in warning for warning in warnings)
    settings, _ = found(profile="staging", base_url="http://flag.test", request_timeout=9.0)
    assert (settings.base_url, settings.request_timeout) == ("http://flag.test", 9.0)
    assert settings.origin == {
        "api_key": "profile [staging]",
        "base_url": "--base-url",
        "request_timeout": "--request-timeout",
    }


def test_the_profile_of_the_environment(no_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(CONFIG)
    monkeypatch.setenv("LUME_PROFILE", "staging")
    assert found()[0].api_key == "staging-key"
    assert found(profile="default")[0].api_key == "default-key"


def test_the_key_from_stdin(no_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUME_API_KEY", "environment-key")
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b" stdin-key \r\nrest\n")))
    assert found(api_key_stdin=True)[0].api_key == "stdin-key"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(MissingKeyError):
        found(api_key_stdin=True)


def test_an_unknown_profile_names_those_that_are_there(no_server: Path) -> None:
    write(CONFIG)
    with pytest.raises(click.UsageError, match=r"no profile \[prod\].*default, staging"):
        found(profile="prod")


def test_a_key_that_others_can_read_is_warned_of(no_server: Path) -> None:
    for mode in (0o640, 0o604, 0o644):
        path = write(CONFIG, mode)
        assert found()[1] == [f"{path} contains an API key and is readable by others: chmod 600 {path}"], mode
        write('[default]\nbase_url = "http://lume.test"\n', mode)
        assert found()[1] == []


def test_mistakes_in_the_file(no_server: Path) -> None:
    for text, problem in (
        ("default = 1", r"write \[default\]"),
        ("[default]\napi_key = 7", "must be a quoted string"),
        ("[default]\nrequest_timeout = '7'", "must be a number"),
        ("[default]\nrequest_timeout = true", "must be a number"),
        ("[default", "is not valid TOML"),
    ):
        write(text)
        with pytest.raises(ConfigurationError, match=problem):
            found()


def test_a_setting_that_is_none_is_warned_of(no_server: Path) -> None:
    write('[default]\napikey = "x"\n')
    assert "unknown setting apikey" in found()[1][0]


def test_a_time_limit_that_is_none(no_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUME_REQUEST_TIMEOUT", "soon")
    with pytest.raises(ConfigurationError, match="LUME_REQUEST_TIMEOUT"):
        found()


def test_a_relative_xdg_folder_is_ignored(no_server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "relative")
    assert config_file() == Path.home() / ".config/lume/config.toml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "/x")
    assert config_file() == Path("/x/lume/config.toml")


def test_a_current_folder_that_has_been_removed(
    no_server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert found()[0].base_url is None


def test_nothing_shows_the_key(no_server: Path) -> None:
    write(CONFIG)
    settings, _ = found()
    assert "default-key" not in repr(settings) + str(settings)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("localhost:8000", "'localhost:8000', from --base-url, must look like https://host"),
        ("user:whisper@lume.test", "'lume.test', from --base-url, must look like"),
        ("https://user:whi/sper@lume.test", "'https://lume.test', from --base-url, must"),
        ("https://lume.test/?token=whisper", "'https://lume.test/', from --base-url, must not contain"),
    ],
)
def test_a_base_url_that_is_none_is_shown_without_secrets(no_server: Path, url: str, shown: str) -> None:
    for command in ("list", "doctor"):
        result = CliRunner().invoke(app, [command, "--base-url", url], env={"LUME_API_KEY": "k"})
        assert result.exit_code != 0
        text = " ".join((result.stdout + result.stderr).split())
        assert shown in text
        assert "whi" not in text
        assert "sper" not in text
