"""An end to connections that do not say what they want: without it a few hundred of them would keep everybody else out."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol


class HeadersInTime(H11Protocol):
    """HTTP/1.1 as uvicorn has it; a connection ends where the headers of a request are not whole in time.

    Between two requests uvicorn's own limit holds (``timeout_keep_alive``), for bodies :class:`learner.http.guard.Guard`'s.
    """

    headers_within_s = 10.0
    """Seconds from the connection, or from the first byte of a further request, to the end of the headers."""
    _end_of_patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A client connected."""
        super().connection_made(transport)
        self._begin_to_wait()

    def data_received(self, data: bytes) -> None:
        """Some bytes came; they may be less than the headers."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._wait_no_more()
        elif self._end_of_patience is None and self.timeout_keep_alive_task is None:
            self._begin_to_wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection ended."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _begin_to_wait(self) -> None:
        self._end_of_patience = self.loop.call_later(self.headers_within_s, self.transport.abort)

    def _wait_no_more(self) -> None:
        if self._end_of_patience is not None:
            self._end_of_patience.cancel()
            self._end_of_patience = None
