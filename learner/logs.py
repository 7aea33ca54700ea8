"""The log: one event a line, as JSON or as text, on standard error or in a file. UIDs and numbers only, never of a patient."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Literal, TextIO

import structlog

from learner.errors import ConfigurationError

_OURS = ("learner", "dicom_io")


class _ToStandardError(logging.StreamHandler[TextIO]):
    """A log that cannot be written (a full disk, a pipe whose reader is gone) is no fault of the node."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Says nothing: there is nowhere to say it."""


class _ToFile(WatchedFileHandler):
    """The same for a file, and for a new one in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        """Writes, or does not."""
        with suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Says nothing."""


def configure_logs(form: Literal["json", "text"], file: Path | None = None) -> None:
    """Sets up structlog, and lets the standard library's loggers write warnings in the same form and to the same place.

    Several processes may write to the same file. When it was renamed, as logrotate does, each goes on in a new one under the
    old name with its next event; what it wrote meanwhile is in the renamed file. A log that cannot be written stops nobody.

    Args:
        form: of an event.
        file: where events go; standard error if None.

    Raises:
        ConfigurationError: the file cannot be written now.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    colours = file is None and sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer() if form == "json" else structlog.dev.ConsoleRenderer(colors=colours)
    )
    handler = _handler(file)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processor=renderer))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for package in _OURS:
        logging.getLogger(package).setLevel(logging.INFO)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def _handler(file: Path | None) -> logging.Handler:
    if file is None:
        return _ToStandardError(sys.stderr)
    try:
        return _ToFile(file, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"node.log_file {file} cannot be written ({error.strerror}); check path and rights") from None
