"""Storing by DICOMweb: STOW-RS, the Store transaction of PS3.18, section 10.5."""

from __future__ import annotations

import json
import ssl
import uuid
from types import TracebackType
from typing import Any, Self

import httpx2

from dicom_io.errors import PacsRefused, PacsUnavailable
from dicom_io.pacs.http_client import open_client
from dicom_io.pacs.http_errors import answer_error, transport_error

_PATH = "/studies"
_FAILED_SOP_SEQUENCE = "00081198"
_REFERENCED_SOP_SEQUENCE = "00081199"
_FAILURE_REASON = "00081197"
_CONFLICT = 409


class DicomWebSink:
    """A :class:`~dicom_io.pacs.port.Sink` on a DICOMweb service.

    Args:
        url: the service's root, such as ``http://127.0.0.1:8042/dicom-web``.
        user: its user, empty for none.
        password: the user's password.
        token: bearer token, for a service that wants one instead; empty for none.
        timeout: seconds to wait for a connection, and for the answer.
        verify: whether and against what a TLS certificate is checked; a context may hold a certificate of ours.
    """

    def __init__(
        self,
        url: str,
        user: str = "",
        password: str = "",
        *,
        token: str = "",
        timeout: float = 60.0,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        headers = {"Accept": "application/dicom+json"}
        self._client = open_client(
            url, user=user, password=password, token=token, timeout=timeout, verify=verify, headers=headers
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def store(self, file: bytes) -> None:
        """Stores one file. See :meth:`dicom_io.pacs.port.Sink.store`."""
        boundary = uuid.uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        try:
            answer = self._client.post(
                _PATH, content=head + file + f"\r\n--{boundary}--\r\n".encode(), headers={"Content-Type": kind}
            )
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise transport_error(_PATH, error) from error
        if not answer.is_success and answer.status_code != _CONFLICT:
            raise answer_error(_PATH, answer.status_code)
        _check(answer.content)


def _check(body: bytes) -> None:
    """Raises if the Store Instances Response Module (PS3.18, table I.2.1-1) does not say that the object is there.

    Raises:
        PacsRefused: the object is in the FailedSOPSequence, or nowhere.
        PacsUnavailable: no such module came.
    """
    try:
        module = json.loads(body)
        failed = _items(module, _FAILED_SOP_SEQUENCE)
        referenced = _items(module, _REFERENCED_SOP_SEQUENCE)
    except (ValueError, AttributeError, TypeError) as error:
        raise PacsUnavailable(_PATH, "the answer is no DICOM JSON", "Check that the address is a DICOMweb root.") from error
    if failed or not referenced:
        reasons = [_items(item, _FAILURE_REASON)[:1] for item in failed]
        words = ", ".join(f"{reason[0]:#06x}" for reason in reasons if reason and isinstance(reason[0], int)) or "none given"
        raise PacsRefused(_PATH, f"the archive refused the object (failure reason {words})", "See PS3.18, table I.2.2-1.")


def _items(module: Any, tag: str) -> list[Any]:
    """Values of an attribute of the DICOM JSON model; an archive may send the sequence empty, or leave it out."""
    return list(module.get(tag, {}).get("Value", []))
