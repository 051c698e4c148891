"""Acting over a real socket: who may, what is sent to the supervisor, what comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import TOKEN, Dashboard, config_of
from tests.staging import Stage, paths_in
from trader.dashboard.security import MOST_FAILURES


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Dashboard]:
    """Serve an idle instance."""
    stage = Stage(paths_in(tmp_path)).start()
    with Dashboard(stage) as dashboard:
        yield dashboard
    stage.stop()


@pytest.mark.parametrize(
    ("name", "body", "sent"),
    [
        ("pause", {}, {}),
        ("resume", {}, {}),
        ("flatten", {}, {}),
        ("close", {"symbol": "BTC/USDT"}, {"symbol": "BTC/USDT"}),
        ("reload", {}, {"wait": True}),
    ],
)
def test_command_with_token_reaches_the_supervisor(
    dashboard: Dashboard, name: str, body: dict[str, str], sent: dict[str, object]
) -> None:
    """Each command goes over the control line once, and its result comes back."""
    assert dashboard.command(name, body) == (200, {"ok": True, "result": {"done": name}})
    assert dashboard.commands == [(name, sent)]


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", TOKEN[:-1], "\u00e4"])
def test_command_without_the_token_is_refused_and_not_sent(dashboard: Dashboard, token: str | None) -> None:
    """No token, an empty, a wrong, a longer, a shorter one: 401."""
    status, answer = dashboard.command("flatten", token=token)
    assert (status, answer["error"]["code"]) == (401, "token")
    assert dashboard.commands == []


def test_refused_command_says_why(dashboard: Dashboard) -> None:
    """The supervisor's no is a conflict with its own words."""
    dashboard.refuse_with = ("nothing_open", "no position is open in BTC/USDT")
    status, answer = dashboard.command("close", {"symbol": "BTC/USDT"})
    assert status == 409
    assert answer["error"] == {"code": "nothing_open", "message": "no position is open in BTC/USDT"}


def test_no_supervisor_is_unavailable(dashboard: Dashboard) -> None:
    """Without a control line there is nobody to ask."""
    dashboard.stage.paths.control_socket.unlink()
    status, answer = dashboard.command("pause")
    assert (status, answer["error"]["code"]) == (503, "not_running")


@pytest.mark.parametrize(
    ("name", "body", "status", "code"),
    [
        ("stop", {}, 404, "command"),
        ("nonsense", {}, 404, "command"),
        ("close", {}, 400, "symbol"),
        ("close", {"symbol": 5}, 400, "symbol"),
        ("close", {"symbol": "DOGE/USDT"}, 404, "symbol"),
        ("pause", [1], 400, "json"),
        ("pause", b"{not json", 400, "json"),
        ("pause", b"\xff\xfe", 400, "json"),
    ],
)
def test_bad_command_is_refused_and_not_sent(
    dashboard: Dashboard, name: str, body: object, status: int, code: str
) -> None:
    """Unknown commands, unknown symbols, wrong types, no JSON."""
    found, answer = dashboard.command(name, body)
    assert (found, answer["error"]["code"]) == (status, code)
    assert dashboard.commands == []


def test_form_post_is_refused(dashboard: Dashboard) -> None:
    """What a form of another site could send is not taken, whatever it brings."""
    status, _, body = dashboard.request(
        "POST", "/api/control/flatten", b"a=b",
        **{"Content-Type": "application/x-www-form-urlencoded", "Authorization": f"Bearer {TOKEN}"},
    )  # fmt: skip
    assert status == 415, body
    assert dashboard.commands == []


def test_foreign_origin_is_refused(dashboard: Dashboard) -> None:
    """A page of another site can't act, even with the token."""
    status, _, _ = dashboard.request(
        "POST", "/api/control/flatten", {}, Origin="http://evil.example", Authorization=f"Bearer {TOKEN}"
    )
    assert status == 403
    assert dashboard.commands == []


def test_session_cookie_acts_until_signed_out(dashboard: Dashboard) -> None:
    """The token buys a cookie that scripts can't read; signing out ends it."""
    status, headers, _ = dashboard.request("POST", "/api/login", {"token": TOKEN})
    assert status == 200
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    session = cookie.partition(";")[0]
    assert dashboard.request("POST", "/api/control/pause", {}, Cookie=session)[0] == 200
    assert dashboard.request("DELETE", "/api/login", Cookie=session)[0] == 200
    assert dashboard.request("POST", "/api/control/pause", {}, Cookie=session)[0] == 401
    assert dashboard.commands == [("pause", {})]


def test_guessing_is_slowed_down(dashboard: Dashboard) -> None:
    """After five wrong tokens even the right one has to wait."""
    for _ in range(MOST_FAILURES):
        assert dashboard.request("POST", "/api/login", {"token": "guess"})[0] == 401
    status, headers, body = dashboard.request("POST", "/api/login", {"token": TOKEN})
    assert status == 429
    assert int(headers["retry-after"]) > 0
    assert json.loads(body)["error"]["code"] == "wait"
    assert dashboard.command("pause")[0] == 429
    assert dashboard.get("/api/status")  # reading goes on


@pytest.mark.parametrize("body", [{}, {"token": 5}, {"token": None}, {"token": ["x"]}])
def test_login_wrong_types_are_refused(dashboard: Dashboard, body: object) -> None:
    """A token is a text."""
    assert dashboard.request("POST", "/api/login", body)[0] == 400


def test_without_a_configured_token_no_command_is_taken(tmp_path: Path) -> None:
    """No token in the configuration: commands are refused, with the way to change that."""
    stage = Stage(paths_in(tmp_path)).start()
    with Dashboard(stage, config_of(token=False)) as dashboard:
        status, answer = dashboard.command("pause", token="")
        assert (status, answer["error"]["code"]) == (403, "no_token")
        assert "dashboard.token" in answer["error"]["message"]
        assert dashboard.request("POST", "/api/login", {"token": ""})[0] == 403
        assert dashboard.commands == []
    stage.stop()
