"""The pages and their files; what they hold is the same for everybody, numbers come from the documents."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from tornado import web

from trader.dashboard.answer import Encoded
from trader.dashboard.security import HEADERS
from trader.dashboard.web import Base, answer_error

STATIC = Path(__file__).parent / "static"
TEMPLATES = Path(__file__).parent / "templates"
PLOTLY = "plotly.min.js"
#: a style sheet is named by the hash of what it holds
_STYLE_ID = re.compile(r'getElementById\("([0-9a-f]{64})"\)')
_FOREVER = "max-age=31536000, immutable"


class Page(Base):
    """The page itself; it holds no numbers, so everybody may have it."""

    public = True

    async def get(self) -> None:
        """Answer the page, or lead to the sign-in where reading needs one."""
        self.set_header("Cache-Control", "no-cache")
        if not self.services.guard.open_to_read and not self.authorised():
            self.redirect("/login")
            return
        board = self.services.board
        self.services.archive.warm(board.config.market.symbols, board.market_ns)
        ids = await asyncio.to_thread(plotly_style_ids)
        self.render("index.html", asset=self.static_url, plotly=plotly_url(), style_ids=ids)


class LoginPage(Base):
    """The sign-in."""

    public = True

    def get(self) -> None:
        """Answer the page."""
        self.set_header("Cache-Control", "no-cache")
        self.render("login.html", asset=self.static_url, open_to_read=self.services.guard.open_to_read)


class Static(web.StaticFileHandler):
    """The page's own files."""

    def set_default_headers(self) -> None:
        """Set what no answer goes without."""
        self.clear_header("Server")
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def set_extra_headers(self, path: str) -> None:
        """Let browsers keep what is named by its hash, and ask again for the rest.

        Icons are kept for a day: the one for "disconnected" is needed when nobody answers.
        """
        if path.endswith(".svg"):
            self.set_header("Cache-Control", "max-age=86400")
        elif not self.get_argument("v", None):
            self.set_header("Cache-Control", "no-cache")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Answer as everything else does."""
        answer_error(self, status_code, kwargs.get("exc_info"), ["GET", "HEAD"])


class Plotly(Base):
    """plotly.js as the installed package brings it: no other host is asked for it."""

    public = True

    async def get(self) -> None:
        """Answer the script."""
        self.set_header("Cache-Control", _FOREVER if self.get_query_argument("v", None) else "no-cache")
        # packing nearly five megabytes takes a third of a second: beside the loop, and once
        self.answer(await asyncio.to_thread(_plotly))


@cache
def plotly_path() -> Path:
    """Return where the package keeps its script; the package itself is not imported."""
    from importlib.util import find_spec

    spec = find_spec("plotly")
    assert spec is not None  # noqa: S101 - it is among our requirements
    assert spec.origin is not None  # noqa: S101 - a package has a file
    return Path(spec.origin).parent / "package_data" / PLOTLY


@cache
def plotly_url() -> str:
    """Return the address of the script, named by its version: it may be kept for good."""
    status = plotly_path().stat()
    tag = hashlib.sha256(f"{status.st_size}-{status.st_mtime_ns}".encode()).hexdigest()[:16]
    return f"/vendor/{PLOTLY}?v={tag}"


@cache
def plotly_style_ids() -> tuple[str, ...]:
    """Return the ids of the style sheets that the script puts into a page when it finds no element of that id.

    They belong to maps, which nothing here draws; the page's policy forbids them, and the page carries empty elements
    of these ids instead.
    """
    return tuple(sorted(set(_STYLE_ID.findall(plotly_path().read_text(encoding="utf-8")))))


@cache
def _plotly() -> Encoded:
    body = plotly_path().read_bytes()
    encoded = Encoded(body, "text/javascript; charset=UTF-8")
    encoded._packed = gzip.compress(body, 6, mtime=0)  # noqa: SLF001 - its own cache, filled here beside the loop
    return encoded
