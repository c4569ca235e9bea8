"""What is wrong with a url is told without telling what is in it; so are lone surrogates."""

import pytest

from sansio_sse import ConfigError, ConnectionConfig, HeartbeatConfig
from sansio_sse.errors import redact_url
from sansio_sse.http import make_request


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://me:hunter/2hunter@example.com/", "the port is no number up to 65535"),
        ("http://me:hunter?2hunter@example.com/", "the port is no number up to 65535"),
        ("http://me:hunter#2hunter@example.com/", "the port is no number up to 65535"),
        ("http://me:hunter2@[::1]:hunter/", "the port is no number up to 65535"),
        ("http://me:hunter2@exa\u2100mple.com/", "the host cannot be read"),
        ("http://me:hunter2@[::1/", "the host cannot be read"),
        ("http://me:hunter2@\udcff/", "has a lone surrogate"),
        ("http://example.com:65536/", "the port is no number up to 65535"),
        ("https:/me:hunter2@example.com/", "has no host"),
        ("https:///me:hunter2@example.com/", "has no host"),
        ("https:me:hunter2@example.com/", "has no host"),
    ],
)
def test_a_url_that_cannot_be_is_told_without_its_credentials(url: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        make_request("GET", url)
    assert "hunter" not in str(caught.value)


def test_the_repr_of_a_configuration_has_no_credential() -> None:
    config = ConnectionConfig(
        base_url="https://me:hunter2@example.com/?key=hunter2",
        headers={"X-Key": "hunter2"},
        heartbeat=HeartbeatConfig(ping_endpoint="/ping?key=hunter2"),
    )
    assert "hunter" not in repr(config)


@pytest.mark.parametrize(
    "url", ["http://[::1]:8000/a:b", "https://h/@me", "https://h/a:b@c", "/@me", "/a:b", "h:80/x"]
)
def test_what_has_nothing_to_hide_is_shown(url: str) -> None:
    assert redact_url(url) == url


def test_a_lone_surrogate_in_the_content_is_refused() -> None:
    with pytest.raises(ConfigError, match="surrogate"):
        make_request("POST", "http://example.com/", content="\udcff")
    with pytest.raises(ConfigError, match="surrogate"):
        make_request("POST", "http://example.com/", json="\udcff")
