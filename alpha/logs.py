"""Structured logs: events with fields. Readable on a terminal, JSON elsewhere, plus rotated files."""

import logging
import logging.handlers
import sys
from collections.abc import Callable
from pathlib import Path

from alpha.clock import monotonic_ms
from alpha.config.services import LogSettings
from alpha.errors import Misconfigured
from alpha.imports import without

# Its traces through rich would also show the values of local variables: keys and passwords among them.
with without("rich", "better_exceptions", "colorama"):
    import structlog

FILE_BYTES = 10_000_000
FILES_KEPT = 5
_MALFORMED_EVERY_MS = 60_000


def configure(service: str, settings: LogSettings) -> None:
    """Send all logs to standard error and, with `log_dir`, to `<log_dir>/<service>.log` (JSON, rotated).

    A file that cannot be written (full disk, wrong owner) is reported once and never stops the service.
    """
    shared: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    root = logging.getLogger()
    root.handlers = [_handler(logging.StreamHandler(sys.stderr), shared, service, console=console)]
    root.setLevel(settings.log_level.upper())
    # pybit and its HTTP library log what the gateway already reports as an event.
    for noisy in ("pybit", "picows", "urllib3", "websockets", "httpx", "httpcore", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    malformed = _Malformed()
    for name in ("aiohttp.server", "aiohttp.web"):
        logging.getLogger(name).filters = [malformed]
    if settings.log_dir is not None:
        _add_file(root, settings.log_dir, service, shared)


def logger(name: str) -> structlog.stdlib.BoundLogger:
    """The logger of one module."""
    bound: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return bound


class _Malformed(logging.Filter):
    """One line a minute, without a trace, of requests that are not HTTP: whoever reaches the port could fill the log."""

    def __init__(self, now_ms: Callable[[], int] = monotonic_ms) -> None:
        super().__init__()
        self._now_ms = now_ms
        self._told_ms: int | None = None
        self._untold = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record; that of a malformed request is made short."""
        fault = record.exc_info[1] if record.exc_info else None
        if type(fault).__module__ != "aiohttp.http_exceptions" and type(fault).__name__ != "RequestPayloadError":
            return True
        self._untold += 1
        now = self._now_ms()
        if self._told_ms is not None and now - self._told_ms < _MALFORMED_EVERY_MS:
            return False
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        record.msg = f"Malformed requests, answered 400: {self._untold}. The newest: {type(fault).__name__}."
        record.args, record.exc_info, record.exc_text = (), None, None
        self._told_ms, self._untold = now, 0
        return True


class _QuietRotatingFile(logging.handlers.RotatingFileHandler):
    """A file handler that reports a failure once on standard error and then ignores it: trading continues."""

    _failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        if not self._failed:
            self._failed = True
            sys.stderr.write(f"The log file {self.baseFilename} cannot be written; logs go to standard error only.\n")


def _add_file(root: logging.Logger, folder: Path, service: str, shared: list[structlog.types.Processor]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handler = _QuietRotatingFile(
            folder / f"{service}.log", maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8"
        )
    except OSError as fault:
        raise Misconfigured(
            f"LOG_DIR names {folder}, where no log can be written: {fault.strerror}. Make it writable or empty LOG_DIR."
        ) from None
    root.addHandler(_handler(handler, shared, service, console=False))


def _handler(
    handler: logging.Handler, shared: list[structlog.types.Processor], service: str, *, console: bool
) -> logging.Handler:
    def name_service(_logger: object, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
        event["service"] = service
        return event

    render: list[structlog.types.Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if console
        else [name_service, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    return handler
