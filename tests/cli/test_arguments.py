"""What the command is given, and what the server gets of it."""

import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sansio_sse import __version__
from sansio_sse_cli import main
from sansio_sse_cli.command import SUBCOMMANDS

from .support import ENVIRONMENT, HEAD, run, serving


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "arguments are required: COMMAND"),
        ("tail", "arguments are required: URL"),
        ("watch http://h/", "invalid choice: 'watch'"),
        ("tail ftp://h/", "the scheme must be http or https"),
        ("tail http://", "has no host"),
        ("tail http://h:x/", "the port is no number"),
        ("tail http://[::1", "the host cannot be read"),
        ("tail http://h/\udcff", "lone surrogate"),
        ("tail h -H nothing", "a header is 'Name: value'"),
        ("tail h -H X:", "a header is 'Name: value'"),
        ("tail h -H @/nowhere/at/all", "cannot read /nowhere/at/all: No such file"),
        ("tail h -H X:\udcff", "not UTF-8"),
        ("tail h -H X\x00:1", "header name 'X\\x00' is not an HTTP token"),
        ("tail h -A \udcff", "not UTF-8"),
        ("tail h -X G(T", "method 'G(T' is not an HTTP token"),
        ("tail h -d @/nowhere/at/all", "cannot read /nowhere/at/all: No such file"),
        ("tail h -u me", "no terminal to ask"),
        ("tail h --last-event-id 1\n2", "last_event_id has a CR, LF or NUL"),
        ("tail h --last-event-id \udcff", "not UTF-8"),
        ("tail h --cacert /nowhere/at/all", "cannot use /nowhere/at/all: No such file"),
        (f"tail h --cacert {__file__}", "it has no certificate"),
        ("tail h --connect-timeout 0", "Timeouts.connect must be a number above 0"),
        ("tail h --idle-timeout x", "--idle-timeout: invalid float value: 'x'"),
        ("tail h --max-attempts -1", "max_attempts must be a whole number"),
        ("tail h -n 0", "a whole number from 1"),
        ("tail h --json --raw", "not allowed with argument --json"),
        ("tail h --jso", "unknown option --jso"),
        ("tail h i j", "2 arguments too many"),
        ("demo --events 0", "a whole number from 1"),
        ("demo --sabotage=all", "invalid choice: 'all'"),
        ("demo --pool --seconds 1", "a number of seconds from 2"),
        ("demo --pool --seconds nan", "a number of seconds from 2"),
        ("demo --pool --seconds long", "a number of seconds from 2"),
        ("demo --seconds 5", "--seconds does not go without --pool"),
        ("demo --pool --events 5", "--events does not go with --pool"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    arguments: str,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(SystemExit) as caught:
        main(arguments.split(" ") if arguments else [])
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert message in err
    assert out == ""
    assert re.fullmatch(r"sansio-sse.*: error: .* \(see .* --help\)\n", err)


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for name in SUBCOMMANDS:
        assert re.search(rf"^ +{name} +[A-Z]", out, re.MULTILINE)
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"sansio-sse {__version__}\n"


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_each_command_has_help_with_its_exit_codes(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([name, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert "exit codes:" in out
    assert max(map(len, out.splitlines())) <= 100  # the epilog is ours to wrap


def test_a_command_loads_no_other() -> None:
    program = "import sys; from sansio_sse_cli.command import make_parser; make_parser('tail'); "
    program += "print(*sorted(name for name in sys.modules if 'sansio_sse_cli.' in name))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, env=ENVIRONMENT, check=True
    )
    loaded = {name.rpartition(".")[2] for name in done.stdout.decode().split()}
    assert loaded & set(SUBCOMMANDS) == {"tail"}


def sent(server_request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = server_request.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) if ": " in line else (line.rstrip(":"), "") for line in lines)
    return first, {name.lower(): value for name, value in pairs}, body


def request_of(*arguments: str) -> tuple[str, dict[str, str], bytes]:
    """What the server is asked when ``tail`` is given these arguments."""
    with serving(HEAD + b"data: x\n\n") as server:
        assert main(["tail", f"{server.address}/events?a=1", *arguments, "-n", "1"]) == 0
        return sent(server.requests[0])


def test_by_default_it_is_a_get() -> None:
    first, headers, body = request_of()
    assert first == "GET /events?a=1 HTTP/1.1"
    assert headers["accept"] == "text/event-stream"
    assert body == b""
    assert "last-event-id" not in headers


def test_headers(tmp_path: Path) -> None:
    more = tmp_path / "headers"
    more.write_text("X-Two: 2\n\nX-Three: a: b\n")
    _, headers, _ = request_of(
        *("-H", "X-One:1", "--header", f"@{more}", "-H", "X-Empty;"),
        *("-A", "me/1", "--last-event-id", "é 7"),
    )
    assert headers["x-one"] == "1"
    assert headers["x-two"] == "2"
    assert headers["x-three"] == "a: b"
    assert headers["x-empty"] == ""
    assert headers["user-agent"] == "me/1"
    assert headers["last-event-id"].encode("latin-1").decode() == "é 7"


def test_basic_auth() -> None:
    _, headers, _ = request_of("-u", "me:pass")
    assert headers["authorization"] == "Basic bWU6cGFzcw=="
    _, headers, _ = request_of("-u", "me:pass", "-H", "Authorization: Bearer 1")
    assert headers["authorization"] == "Bearer 1"


def test_a_password_is_asked_for_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    prompts: list[str] = []

    def type_password(prompt: str) -> str:
        prompts.append(prompt)
        return "pass"

    monkeypatch.setattr("sys.stdin", Terminal())
    monkeypatch.setattr("getpass.getpass", type_password)
    _, headers, _ = request_of("-u", "me")
    assert headers["authorization"] == "Basic bWU6cGFzcw=="
    assert prompts == ["Password for me: "]


def test_data_is_posted_as_a_form(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(b"b=2\r\n&c=3\n")
    first, headers, body = request_of("-d", "a=1", "-d", f"@{file}")
    assert first.startswith("POST ")
    assert headers["content-type"] == "application/x-www-form-urlencoded"
    assert body == b"a=1&b=2&c=3"


def test_data_byte_for_byte(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(b'{"q":\r\n"\xff"}\n')
    first, headers, body = request_of(
        *("-X", "PUT", "--data-binary", f"@{file}", "-H", "content-type: application/json")
    )
    assert first.startswith("PUT ")
    assert headers["content-type"] == "application/json"
    assert body == b'{"q":\r\n"\xff"}\n'


def test_data_from_standard_input() -> None:
    with serving(HEAD + b"data: x\n\n") as server:
        done = run("tail", server.address, "-d", "@-", "-n1", stdin=b'{"stream":\ntrue}\n')
        assert done.returncode == 0
        assert sent(server.requests[0])[2] == b'{"stream":true}'
