"""``apprentice serve``: the node as a service; and its child, ``apprentice trainer``."""

from __future__ import annotations

import os
import signal
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import structlog

from dicom_io.pacs.tls import server_tls
from learner.cli.console import DEFAULT_CONFIGURATION, Configuration
from learner.errors import ConfigurationError
from learner.logs import configure_logs
from learner.settings import Settings, load_settings, read_secret
from learner.settings_access import ApiSettings
from learner.trainer_process import NICENESS

if TYPE_CHECKING:
    import uvicorn

_log = structlog.get_logger(__name__)
_GRACE_S = 5


def serve(config: Configuration = DEFAULT_CONFIGURATION) -> None:
    """Run the node: answer annotations, learn in the background, serve API and page until SIGTERM or Ctrl-C."""
    settings = load_settings(config)
    token = read_secret(settings.api.token_file)
    configure_logs(settings.node.log_format, settings.node.log_file)
    with _listening_socket(settings.api) as listening:
        _run(settings, config, token, listening)


def trainer(config: Configuration = DEFAULT_CONFIGURATION) -> None:
    """Learn until told to stop; started by `apprentice serve`."""
    os.nice(NICENESS)
    settings = load_settings(config)
    configure_logs(settings.node.log_format, settings.node.log_file)
    from learner.wiring import run_trainer  # noqa: PLC0415 - heavy

    try:
        run_trainer(settings)
    except Exception:
        _log.exception("the trainer ended by a fault")
        raise


def _run(settings: Settings, config: Path, token: str, listening: socket.socket) -> None:
    import uvicorn  # noqa: PLC0415 - heavy

    from learner.http.access import check_entrance  # noqa: PLC0415 - heavy
    from learner.http.app import create_app  # noqa: PLC0415 - heavy
    from learner.http.slow_headers import HeadersInTime  # noqa: PLC0415 - heavy
    from learner.wiring import build_node  # noqa: PLC0415 - heavy

    tls = _tls(settings.api)
    node = build_node(settings, config.resolve())
    check_entrance(settings, node.store, token)
    options = uvicorn.Config(
        create_app(node, token),
        http=HeadersInTime,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        limit_concurrency=200,
        timeout_graceful_shutdown=_GRACE_S,
    )
    server = uvicorn.Server(options)
    _stop_on_signals(server)
    node.start()
    try:
        host, port = listening.getsockname()[:2]
        _log.info("listening", host=host, port=port, tls=tls is not None)
        server.run(sockets=[listening])
    except Exception:
        _log.exception("the node ended by a fault")
        raise
    finally:
        node.stop()
        node.store.close()


def _tls(settings: ApiSettings) -> ssl.SSLContext | None:
    """TLS of the service, or None where it speaks plain HTTP.

    Raises:
        ConfigurationError: a file with a certificate cannot be read.
    """
    if settings.tls_certificate is None:
        return None
    try:
        return server_tls(settings.tls_certificate, settings.tls_key, settings.client_ca)
    except OSError as error:
        what = f"api.tls_certificate, tls_key, client_ca: {error.strerror or error}"
        raise ConfigurationError(f"{what}; check their paths, rights and content") from None


def _stop_on_signals(server: uvicorn.Server) -> None:
    """SIGTERM and SIGINT end the server, before it runs and (raised once more by it) after, without ending the process.

    While it runs the server has its own handlers.
    """

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, on_signal)


@contextmanager
def _listening_socket(settings: ApiSettings) -> Iterator[socket.socket]:
    """A socket that is bound and does not listen yet.

    Raises:
        ConfigurationError: the address cannot be had.
    """
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigurationError(f"api.host {settings.host} is no address of this machine ({error.strerror})") from None
    with listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((settings.host, settings.port))
        except OSError as error:
            where = f"{settings.host}:{settings.port}"
            raise ConfigurationError(f"{where} cannot be had ({error.strerror}); free it, or set api.port") from None
        yield listening
