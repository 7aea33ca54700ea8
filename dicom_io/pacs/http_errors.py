"""What went wrong over HTTP, in this package's terms. Messages name the path and the remedy, never credentials."""

from __future__ import annotations

import httpx2

from dicom_io.errors import NotInPacs, PacsClosed, PacsError, PacsRefused, PacsUnavailable

_TRY_LATER = (408, 425, 429)
_RIGHTS = (PacsClosed, "Check user, password and the user's rights.")
_NOT_LIKED = "The object or the request is not to its liking; see its log."
_DEFINITE: dict[int, tuple[type[PacsError], str]] = {
    300: (PacsClosed, "Check its address; a proxy before it may want somebody to sign in."),
    401: _RIGHTS,
    403: _RIGHTS,
    404: (PacsClosed, "It does not know this path: check the address and the archive's version."),
    407: _RIGHTS,
    413: (PacsRefused, "Raise the limit of the archive, or of the proxy before it, then `apprentice retry`."),
}
"""What a definite no means, and what to do; 300 stands for all that lead elsewhere."""


def transport_error(path: str, error: Exception) -> PacsError:
    """The error for a request that got no whole answer.

    Args:
        path: path of the request.
        error: what the HTTP library raised.
    """
    if isinstance(error, httpx2.InvalidURL | httpx2.UnsupportedProtocol):
        return PacsClosed(path, "the archive's address is no http or https address", "Correct it in the settings.")
    if isinstance(error, httpx2.TimeoutException):
        return PacsUnavailable(path, "the archive did not answer in time", "Check its load, or raise the timeout.")
    if isinstance(error, httpx2.ConnectError):
        return PacsUnavailable(path, "no connection to the archive", "Check that it runs, and its address.")
    kind = type(error).__name__
    return PacsUnavailable(path, f"the archive's answer broke off ({kind})", "It is asked again; look at the archive's log.")


def answer_error(path: str, status: int, *, missing: type[PacsError] = PacsClosed) -> PacsError:
    """The error for an answer that is no success.

    Args:
        path: path of the request.
        status: HTTP status.
        missing: what a 404 means at this path: the object, or (default) an address that is not the archive's.
    """
    if status >= 500 or status in _TRY_LATER:
        return PacsUnavailable(path, f"the archive answered {status}", "It is asked again; look at the archive's log.")
    if status == httpx2.codes.NOT_FOUND and missing is NotInPacs:
        return NotInPacs(path, "the archive has no such object", "It was deleted, or never arrived.")
    kind, remedy = _DEFINITE.get(300 if 300 <= status < 400 else status, (PacsRefused, _NOT_LIKED))
    return kind(path, f"the archive answered {status}", remedy)
