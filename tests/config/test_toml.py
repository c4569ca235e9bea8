"""A file is read whole or refused with its name, and with the line where that is known."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sansio_sse import ConfigError, ConnectionConfig, Endpoint, PoolConfig
from sansio_sse_config import from_toml


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file by a short name, so that messages are the same everywhere."""
    monkeypatch.chdir(tmp_path)
    return Path("config.toml")


def refused(path: Path, content: str | bytes, **options: Any) -> str:
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        from_toml(path, **options)
    return str(caught.value)


WHOLE = """
base_url = "https://api.example.com/v1/"
buffer_size = 500
overflow = "drop_oldest"
retry_statuses = [429, 503]

[headers]
Authorization = "Bearer token"

[reconnection]
max_attempts = 0
initial_delay = "200ms"

[timeouts]
idle = "1m30s"
write = 5.5
"""


def test_a_whole_file_is_a_configuration(path: Path) -> None:
    path.write_text(WHOLE, encoding="utf-8")
    config = from_toml(path)
    assert (config.base_url, config.buffer_size) == ("https://api.example.com/v1/", 500)
    assert config.headers == (("Authorization", "Bearer token"),)
    assert (config.reconnection.max_attempts, config.reconnection.initial_delay) == (0, 0.2)
    assert config.timeouts.idle == timedelta(minutes=1.5).total_seconds()
    assert (config.timeouts.write, config.retry_statuses) == (5.5, {429, 503})
    assert from_toml(str(path)) == config


def test_a_table_of_a_file_is_a_configuration(path: Path) -> None:
    path.write_text("[tool.other]\nx = 1\n[tool.sse]\nbuffer_size = 3\n", encoding="utf-8")
    assert from_toml(path, table="tool.sse") == ConnectionConfig(buffer_size=3)


def test_endpoints_are_an_array_of_tables(path: Path) -> None:
    path.write_text(
        '[[sse.endpoints]]\nurl = "https://eu.example.com/"\n'
        '[[sse.endpoints]]\nurl = "https://us.example.com/"\npriority = 1\n',
        encoding="utf-8",
    )
    assert from_toml(path, PoolConfig, table="sse") == PoolConfig(
        ["https://eu.example.com/", Endpoint("https://us.example.com/", priority=1)]
    )


def test_a_mistake_is_named_by_file_table_and_key(path: Path) -> None:
    content = "[tool.sse]\nbuffer_size = 0\nheartbeat = 3\n"
    assert refused(path, content, table="tool.sse").split("\n") == [
        "config.toml [tool.sse]: heartbeat: must be a table, not 3",
        "config.toml [tool.sse]: buffer_size: must be a whole number, at least 1, not 0",
    ]
    assert refused(path, "buffer_size = 0") == (
        "config.toml: buffer_size: must be a whole number, at least 1, not 0"
    )


def test_dates_are_no_durations(path: Path) -> None:
    found = refused(path, "[timeouts]\nidle = 00:05:00\n")
    assert found.endswith('or a text such as "1m30s", not 00:05:00')


@pytest.mark.parametrize(
    "content", ["[tool]\nsse = 3", "[tool]\n[[tool.sse]]", "[tool]\nsse = 'x'"], ids=range(3)
)
def test_what_stands_where_the_table_should_be_is_refused(path: Path, content: str) -> None:
    found = refused(path, content, table="tool.sse")
    assert found.startswith("config.toml [tool.sse]: must be a table, not ")


@pytest.mark.parametrize("table", ["sse", "tool.sse.x", "tool.", "", ".", "tool..sse", "x\x1b"])
def test_a_table_that_is_not_there_is_named(path: Path, table: str) -> None:
    found = refused(path, "[tool.sse]\nbuffer_size = 3\n", table=table)
    assert found == f"config.toml: there is no table [{table.replace(chr(27), '?')}]"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a = 1\nb = \n", "config.toml, line 2: Invalid value"),
        ("a = 1\n\na = 2\n", "config.toml, line 3: Cannot overwrite a value"),
        ("[a]\n[a]\n", "config.toml, line 2: Cannot declare ('a',) twice"),
        ("a = 1\nb = 'x", "config.toml, line 2: "),
        ("a = 1\nb = '\x1b'\n", "config.toml, line 2: "),
        ("no toml", "config.toml, line 1: "),
    ],
    ids=range(6),
)
def test_what_is_not_toml_is_named_by_its_line(path: Path, content: str, expected: str) -> None:
    found = refused(path, content)
    assert found.startswith(expected)
    assert found.isprintable()


def test_the_keys_of_what_is_not_toml_reach_no_terminal(path: Path) -> None:
    key = '"' + "\\u001b\\u202e" + "k" * 100_000 + '"'
    found = refused(path, f"[{key}]\n[{key}]\n")
    assert found.startswith("config.toml, line 2: Cannot declare")
    assert found.isprintable()
    assert len(found) < 300


def test_the_mark_with_which_some_editors_begin_a_file_is_no_mistake(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf" + WHOLE.encode())
    assert from_toml(path).buffer_size == 500
    message = refused(path, b"\xef\xbb\xbfbuffer_size = 1\n\xff")
    assert message == "config.toml, line 2: is not UTF-8"


def test_a_file_that_is_not_utf_8_is_named_by_its_line(path: Path) -> None:
    assert refused(path, b"a = 1\nb = '\xff'\n") == "config.toml, line 2: is not UTF-8"
    assert refused(path, WHOLE.encode("utf-16")) == "config.toml, line 1: is not UTF-8"


def test_a_file_that_cannot_be_read_is_named(path: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^config\.toml: cannot be read: No such file"):
        from_toml(path)
    with pytest.raises(ConfigError, match="cannot be read: "):
        from_toml(tmp_path)
    with pytest.raises(ConfigError, match=r"^a\?b: cannot be read: no file has such a name$"):
        from_toml("a\0b")


def test_a_file_has_a_bound(path: Path) -> None:
    at_most = 1024 * 1024
    path.write_bytes(b"#" * at_most)
    assert from_toml(path) == ConnectionConfig()
    assert refused(path, b"#" * (at_most + 1)) == "config.toml: is larger than 1048576 bytes"


@pytest.mark.parametrize(
    "content",
    ["buffer_size = " + "9" * 5000, "x = " + "[" * 100_000, "x = " + "{a=" * 100_000],
    ids=["digits", "lists", "tables"],
)
def test_what_the_parser_gives_up_on_is_refused(path: Path, content: str) -> None:
    assert refused(path, content) == (
        "config.toml: has a number too long or lists too deep to be read"
    )


def test_a_number_beyond_64_bits_is_refused(path: Path) -> None:
    assert "must be a number of at most 63 bits" in refused(path, "buffer_size = 0x" + "f" * 9999)
    assert "buffer_size: must be a whole number, not inf" in refused(path, "buffer_size = inf")
    assert "must be a number at least 0, not inf" in refused(path, "timeouts.idle = 1e999")
