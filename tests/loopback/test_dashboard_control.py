"""Acting over a real socket: who may, what is sent to the supervisor, what comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving import TOKEN, Dashboard, config_of, eventually
from tests.staging import Stage, paths_in
from trader.config.owner_token import renew_token, token_file
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
        ("stop", {}, 404, "not_found"),
        ("nonsense", {}, 404, "not_found"),
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
    status, headers, body = dashboard.request("POST", "/api/login", {"token": TOKEN})
    assert status == 200
    cookie = headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert TOKEN not in cookie
    session = {"Cookie": cookie.partition(";")[0], "X-XSRF-Token": json.loads(body)["xsrf"]}
    assert dashboard.request("POST", "/api/control/pause", {}, **session)[0] == 200
    assert dashboard.request("DELETE", "/api/login", **session)[0] == 200
    assert dashboard.request("POST", "/api/control/pause", {}, **session)[0] == 401
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


def test_session_without_its_own_xsrf_token_acts_on_nothing(dashboard: Dashboard) -> None:
    """The cookie alone, with a made-up token, or with another session's, is not enough; the token alone is nothing."""
    sessions = []
    for _ in range(2):
        _, headers, body = dashboard.request("POST", "/api/login", {"token": TOKEN})
        sessions.append((headers["set-cookie"].partition(";")[0], json.loads(body)["xsrf"]))
    (cookie, xsrf), (_, other) = sessions
    for headers in ({}, {"X-XSRF-Token": "x"}, {"X-XSRF-Token": other}, {"X-XSRF-Token": "\u00e4"}):
        status, _, body = dashboard.request("POST", "/api/control/flatten", {}, Cookie=cookie, **headers)
        assert (status, json.loads(body)["error"]["code"]) == (403, "xsrf")
        assert dashboard.request("DELETE", "/api/login", {}, Cookie=cookie, **headers)[0] == 403
    assert dashboard.request("POST", "/api/control/flatten", {}, **{"X-XSRF-Token": xsrf})[0] == 401
    assert dashboard.commands == []
    assert dashboard.get("/api/login", Cookie=cookie) == {"signed_in": True, "xsrf": xsrf, "has_token": True}
    assert dashboard.get("/api/login")["signed_in"] is False


def test_without_a_configured_token_one_is_made_and_kept(tmp_path: Path) -> None:
    """The token is in the data folder, for nobody else; it stays over restarts; a new one is taken up by itself."""
    stage = Stage(paths_in(tmp_path)).start()
    path = token_file(stage.paths.data_dir)
    with Dashboard(stage, config_of(token=False)) as dashboard:
        assert path.stat().st_mode & 0o777 == 0o600
        first = path.read_text().strip()
        assert len(first) >= 32
        assert dashboard.command("pause", token="")[0] == 401
        assert dashboard.command("pause", token=first)[0] == 200
        _, headers, _ = dashboard.request("POST", "/api/login", {"token": first})
        cookie = headers["set-cookie"].partition(";")[0]
    with Dashboard(stage, config_of(token=False)) as dashboard:
        assert dashboard.command("pause", token=first)[0] == 200
        cookie = dashboard.request("POST", "/api/login", {"token": first})[1]["set-cookie"].partition(";")[0]
        second = renew_token(path).reveal()
        eventually(lambda: dashboard.service._guard._token.matches(second), "the new token")
        assert dashboard.command("pause", token=second)[0] == 200
        assert dashboard.command("pause", token=first)[0] == 401
        assert dashboard.get("/api/login", Cookie=cookie)["signed_in"] is False
    stage.stop()


def test_token_that_lies_open_is_not_taken(tmp_path: Path) -> None:
    """A token that others can read protects nothing: no command is taken, reading goes on."""
    stage = Stage(paths_in(tmp_path)).start()
    path = token_file(stage.paths.data_dir)
    path.write_text("open to all\n")
    path.chmod(0o644)
    with Dashboard(stage, config_of(token=False)) as dashboard:
        status, answer = dashboard.command("pause", token="open to all")
        assert (status, answer["error"]["code"]) == (403, "no_token")
        assert dashboard.request("POST", "/api/login", {"token": "open to all"})[0] == 403
        assert dashboard.get("/api/status")["source"] == "engine"
        assert dashboard.commands == []
    stage.stop()


@pytest.mark.parametrize("kind", [None, "application/json"])
def test_command_without_a_body_is_a_command(dashboard: Dashboard, kind: str | None) -> None:
    """What needs no argument needs no body."""
    headers = {"Authorization": f"Bearer {TOKEN}"} | ({"Content-Type": kind} if kind else {})
    assert dashboard.request("POST", "/api/control/pause", None, **headers)[0] == 200


@pytest.mark.parametrize("body", [{"symbol": "BTC/USDT", "all": True}, {"force": 1}])
def test_command_with_unknown_members_is_refused(dashboard: Dashboard, body: dict[str, object]) -> None:
    """A member that is not known might have meant something."""
    name = "close" if "symbol" in body else "pause"
    status, answer = dashboard.command(name, body)
    assert (status, answer["error"]["code"]) == (400, "argument")
    assert dashboard.commands == []
