"""Talking to the learner over HTTP, with the standard library. Never called by the thread that dispatches Orthanc's changes."""

from __future__ import annotations

import http.client
import json
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from orthanc_plugin.options import Options

_LARGEST_ANSWER = 1 << 20


class LearnerError(Exception):
    """The learner could not be asked; says why, without the token."""


class Learner:
    """The learner's API, as far as the plugin needs it. A connection for each call, so that threads share nothing."""

    def __init__(self, options: Options) -> None:
        self._address = urlsplit(options.LearnerUrl)
        self._token_file = options.TokenFile
        self._timeout = options.TimeoutSeconds

    def nudge(self, changes: list[dict[str, str]]) -> None:
        """Tells that something changed; ``changes`` is a hint, the log of changes is the truth.

        Raises:
            LearnerError.
        """
        self._call("POST", "/api/nudge", json.dumps({"changes": changes}).encode())

    def state(self) -> Any:
        """The learner's state, as it tells it.

        Raises:
            LearnerError.
        """
        content = self._call("GET", "/api/status")
        try:
            return json.loads(content)
        except ValueError as error:
            raise LearnerError("its answer is no JSON") from error

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {"Content-Type": "application/json", "Accept": "application/json"} | self._authorization()
        connection = self._connection()
        try:
            connection.request(method, self._address.path.rstrip("/") + path, body, headers)
            answer = connection.getresponse()
            content = answer.read(_LARGEST_ANSWER)
        except TimeoutError as error:
            raise LearnerError("it did not answer in time") from error
        except OSError as error:
            raise LearnerError(error.strerror or type(error).__name__) from error
        except http.client.HTTPException as error:
            raise LearnerError(type(error).__name__) from error
        except ValueError as error:  # a token of several lines, say; the message would quote it
            raise LearnerError("the request cannot be made; look at the token file") from error
        finally:
            connection.close()
        if not 200 <= answer.status < 300:
            raise LearnerError(f"it answered {answer.status}")
        return content

    def _authorization(self) -> dict[str, str]:
        if not self._token_file:
            return {}
        try:
            return {"Authorization": f"Bearer {Path(self._token_file).read_text('utf-8').strip()}"}
        except (OSError, UnicodeError) as error:
            raise LearnerError(f"the token file {self._token_file} cannot be read") from error

    def _connection(self) -> http.client.HTTPConnection:
        host, port = self._address.hostname or "", self._address.port
        if self._address.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._timeout, context=ssl.create_default_context())
        return http.client.HTTPConnection(host, port, timeout=self._timeout)
