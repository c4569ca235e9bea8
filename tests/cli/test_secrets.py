"""What the caller gave in confidence is never shown: not by a mistake of his, not by an echo."""

import pytest

from sansio_sse_cli import main

from .support import HEAD, answer, serving


@pytest.mark.parametrize(
    "arguments",
    [
        ["https://me:hunter2@example.com/"],
        ["tail", "ftp://me:hunter2@example.com/?key=hunter2"],
        ["tail", "http://me:hunter/2@example.com/"],
        ["tail", "http://me:hunter2@[::1"],
        ["tail", "http://h/", "-H", "Authorization Bearer hunter2"],
        ["tail", "http://h/", "-H", "Authorization:", "Bearer", "hunter2"],
        ["tail", "-H", "X-Key: ok", "http://h/", "hunter2", "--key=hunter2"],
        ["tail", "http://h/", "-H", "X-Key: hunter2\rX"],
        ["tail", "http://h/", "-H", "X-Key: hunter2\udcff"],
    ],
)
def test_a_mistake_is_told_without_them(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    out, err = capsys.readouterr()
    assert caught.value.code == 2
    assert "hunter" not in out + err


def test_a_server_that_sends_them_back_shows_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    secrets = (
        "Bearer first-secret first-secret user:second-secret dXNlcjpzZWNvbmQtc2VjcmV0 "
        "third%20secret third secret fourth-secret "
    )
    # And once where the text is cut to length.
    body = (secrets + "x" * (190 - len(secrets)) + "first-secret" * 30).encode()
    refusals = answer("503 Service Unavailable", body), answer("401 Unauthorized", body)
    with serving(*refusals) as server:
        code = main(
            [
                "tail",
                f"http://user:second-secret@{server.address}/?key=third%20secret&fourth-secret",
                *("-H", "X-Key: Bearer first-secret"),
            ]
        )
        assert b"first-secret" in server.requests[0]
        assert b"dXNlcjpzZWNvbmQtc2VjcmV0" in server.requests[0]
    err = capfd.readouterr().err
    assert code == 1
    assert "503" in err
    assert "401" in err
    for secret in ("first-s", "second", "third", "fourth", "dXNl"):
        assert secret not in err


def test_basic_auth_is_hidden_in_every_form(capfd: pytest.CaptureFixture[str]) -> None:
    body = b"user:hunter22 hunter22 dXNlcjpodW50ZXIyMg=="
    with serving(answer("401 Unauthorized", body)) as server:
        assert main(["tail", server.address, "-u", "user:hunter22"]) == 1
    err = capfd.readouterr().err
    assert "401 Unauthorized: … … …\n" in err


def test_an_id_is_hidden_before_it_is_cut(capfd: pytest.CaptureFixture[str]) -> None:
    id_ = b"x" * 195 + b"first-secret"
    with serving(HEAD + b"retry: 1\nid: %s\ndata: x\n\n" % id_, HEAD) as server:
        assert main(["tail", "--raw", server.address, "-H", "X-Key: first-secret"]) == 0
    err = capfd.readouterr().err
    assert err.count("xxx…") == 2  # when it is asked for what follows, and in the summary
    assert "first" not in err


def test_a_cookie_is_hidden_in_parts_too(capfd: pytest.CaptureFixture[str]) -> None:
    body = b"session abcdef123 of hunter22 has ended"
    with serving(answer("401 Unauthorized", body)) as server:
        cookie = 'Cookie: sid=abcdef123; name="hunter22"'
        assert main(["tail", server.address, "-H", cookie]) == 1
    assert "session … of … has ended" in capfd.readouterr().err


def test_what_is_no_secret_is_shown(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(answer("406 Not Acceptable", b"text/weird is too weird for room 1")) as server:
        arguments = [f"{server.address}/?room=1", "-H", "Accept: text/weird", "-H", "X: no base64!"]
        assert main(["tail", *arguments, "-H", "Authorization: Basic %%%"]) == 1
    assert "text/weird is too weird for room 1" in capfd.readouterr().err
