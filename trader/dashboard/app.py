"""The application: routes, and the server that serves them within bounds."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

from tornado import web
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

from trader.dashboard.acting import COMMANDS, Control, Login
from trader.dashboard.documents import Healthz
from trader.dashboard.live import Live
from trader.dashboard.pages import PLOTLY, STATIC, TEMPLATES, LoginPage, Page, Plotly, Static
from trader.dashboard.routes import REST
from trader.dashboard.web import Services, Unknown

MOST_BODY_BYTES = 64 * 1024
MOST_HEADER_BYTES = 16 * 1024
#: connections beyond this are closed at once: those that are there go on being served
MOST_CONNECTIONS = 4000
#: a request that is not complete by then, and a connection that asks nothing for so long, is closed [s]
IDLE_S = 120
HEADER_S = 20
BODY_S = 20

log = logging.getLogger(__name__)


class Server(HTTPServer):
    """An HTTP server that takes no more connections than it can serve."""

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Serve a connection, or close it when there are too many."""
        if len(self._connections) >= MOST_CONNECTIONS:
            stream.close()
            return
        super().handle_stream(stream, address)


def make_server(services: Services) -> Server:
    """Return the server, not listening yet."""
    return Server(
        make_app(services),
        max_body_size=MOST_BODY_BYTES,
        max_header_size=MOST_HEADER_BYTES,
        idle_connection_timeout=IDLE_S,
        body_timeout=BODY_S,
    )


def make_app(services: Services) -> web.Application:
    """Return the application.

    Parameters
    ----------
    services : Services
        What the handlers work with.

    Returns
    -------
    tornado.web.Application
        To be served by an HTTP server.
    """
    given = {"services": services}
    routes: list[tuple[str, type[web.RequestHandler], dict[str, Any]]] = [
        *((path.replace(".", r"\."), handler, given) for path, handler in REST),
        ("/", Page, given),
        ("/login", LoginPage, given),
        ("/ws", Live, given),
        ("/api/login", Login, given),
        (f"/api/control/({'|'.join(COMMANDS)})", Control, given),
        (f"/vendor/{PLOTLY.replace('.', chr(92) + '.')}", Plotly, given),
    ]
    return web.Application(
        routes,
        default_handler_class=Unknown,
        default_handler_args=given,
        static_path=str(STATIC),
        static_handler_class=Static,
        template_path=str(TEMPLATES),
        websocket_ping_interval=20,
        websocket_max_message_size=4096,
        log_function=_log_request,
    )


def _log_request(handler: web.RequestHandler) -> None:
    """Log what went wrong here; what a page asks each second is no news."""
    status = handler.get_status()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(handler, Healthz):
        level = logging.WARNING if status == HTTPStatus.SERVICE_UNAVAILABLE else logging.ERROR
        log.log(level, "%s %s %s", status, handler.request.method, handler.request.path)
