"""The operator's settings."""

from pathlib import Path

import pytest

from cockpit.config import Config, load
from cockpit.errors import ConfigError


def written(folder: Path, text: str) -> Path:
    file = folder / "config.toml"
    file.write_text(text)
    return file


def test_no_file_is_the_defaults_unless_it_was_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert load() == Config()
    with pytest.raises(ConfigError, match="no such file"):
        load(tmp_path / "named.toml")


def test_settings_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "gpu-cockpit").mkdir()
    written(tmp_path / "gpu-cockpit", 'theme = "day"\nmouse = false\noperator = "eva"\n[keymap]\nhelp = "f1"\n')
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    config = load()
    assert (config.theme, config.mouse, config.operator, dict(config.keymap)) == ("day", False, "eva", {"help": "f1"})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("thme = 'x'", "unknown key 'thme'; did you mean 'theme'"),
        ("theme = 3", "theme must be text, it is 3"),
        ("mouse = 'no'", "mouse must be true or false, it is 'no'"),
        ("[keymap]\nhelp = 1", "keymap.help must be text"),
        ("theme = ", "not valid TOML"),
        (f"operator = '{'x' * 65}'", "operator must have at most 64 characters"),
    ],
)
def test_a_mistake_is_named(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        load(written(tmp_path, text))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path)
