"""Settings from a file, and options that win over them."""

import subprocess
import sys
from pathlib import Path

import pytest

from sansio_sse_cli import main

from .support import BOUND, ENVIRONMENT, HEAD, answer, hold, serving

Captured = pytest.CaptureFixture[str]


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_a_file_configures_the_connection(tmp_path: Path, capfd: Captured) -> None:
    file = write(
        tmp_path / "sse.toml",
        '[headers]\nX-Key = "from-the-file"\n'
        '[timeouts]\nidle = "50ms"\n'
        '[reconnection]\ninitial_delay = "1ms"\n',
    )
    with serving(hold(HEAD), answer("401 No", b"no from-the-file here")) as server:
        assert main(["tail", server.address, "--config", file]) == 1
        assert b"X-Key: from-the-file" in server.requests[0]
    err = capfd.readouterr().err
    assert "nothing received for 0.05 s" in err
    assert "retry 1 in 0.00 s" in err
    assert "no … here" in err


def test_options_win_over_the_file(tmp_path: Path, capfd: Captured) -> None:
    file = write(tmp_path / "sse.toml", "[timeouts]\nidle = 0\n[reconnection]\nmax_attempts = 1\n")
    options = ["--config", file, "--idle-timeout", "0.05", "--max-attempts", "2"]
    with serving(hold(HEAD)) as server:
        address = server.address
        assert main(["tail", address, *options]) == 0  # and then a 204
    assert "nothing received for 0.05 s" in capfd.readouterr().err
    assert main(["tail", address, *options]) == 1
    assert "gave up after 2 reconnect attempts" in capfd.readouterr().err


def test_a_table_of_a_larger_file(tmp_path: Path, capfd: Captured) -> None:
    file = write(tmp_path / "all.toml", "[other]\nx = 1\n[tool.sse.timeouts]\nidle = 0.05\n")
    with serving(hold(HEAD)) as server:
        arguments = ["--config", file, "--config-table", "tool.sse"]
        assert main(["tail", server.address, *arguments]) == 0
    assert "nothing received for 0.05 s" in capfd.readouterr().err


def test_a_path_belongs_to_the_base_url(tmp_path: Path) -> None:
    with serving(HEAD + b"data: x\n\n") as server:
        file = write(tmp_path / "sse.toml", f'base_url = "http://{server.address}/api/"\n')
        assert main(["tail", "/events", "--config", file]) == 0
        assert server.requests[0].startswith(b"GET /events HTTP/1.1\r\n")


def test_its_secrets_are_hidden(tmp_path: Path, capfd: Captured) -> None:
    body = b"first-secret second-secret"
    with serving(answer("401 No", body)) as server:
        url = f"http://me:second-secret@{server.address}/"
        file = write(
            tmp_path / "sse.toml",
            f'base_url = "{url}"\nheaders = {{ Authorization = "Bearer first-secret" }}\n',
        )
        assert main(["tail", "/x", "--config", file]) == 1
    err = capfd.readouterr().err
    assert "401" in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("= 1", [], "sse.toml"),
        ("buffer = 1\n[timeouts]\nidle = -1\n", [], "buffer"),
        ("", ["--config-table", "nowhere"], "nowhere"),
    ],
    ids=["not TOML", "wrong", "no table"],
)
def test_mistakes_in_it_are_told_in_one_line(
    text: str, arguments: list[str], message: str, tmp_path: Path, capfd: Captured
) -> None:
    file = write(tmp_path / "sse.toml", text)
    with pytest.raises(SystemExit) as caught:
        main(["tail", "localhost:1", "--config", file, *arguments])
    assert caught.value.code == 2
    err = capfd.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_a_file_that_is_not_there_and_a_table_of_none(tmp_path: Path, capfd: Captured) -> None:
    for arguments, message in (
        (["--config", str(tmp_path / "no")], "No such file or directory"),
        (["--config-table", "x"], "--config-table does not go without --config"),
    ):
        with pytest.raises(SystemExit) as caught:
            main(["tail", "localhost:1", *arguments])
        assert caught.value.code == 2
        assert message in capfd.readouterr().err


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    file = write(tmp_path / "sse.toml", "[timeouts]\nidle = '5s'\n")
    program = "import sys; sys.modules['durationpy'] = None\n"
    program += "from sansio_sse_cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", program, "tail", "localhost:1", "--config", file],
        capture_output=True,
        env=ENVIRONMENT,
        timeout=BOUND,
        check=False,
    )
    assert done.returncode == 2
    assert b'needs durationpy: pip install "sansio-sse[config]"' in done.stderr
    assert done.stderr.count(b"\n") == 1
