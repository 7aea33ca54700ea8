"""What went wrong over HTTP, in this package's terms. Messages name the path and the remedy, never credentials."""

from __future__ import annotations

import httpx2

from dicom_io.errors import NotInPacs, PacsClosed, PacsError, PacsRefused, PacsUnavailable

_TRY_LATER = (408, 425, 429)
_NO_RIGHTS = (401, 403, 407)
_TOO_LARGE = 413


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
    if status in _NO_RIGHTS:
        return PacsClosed(path, f"the archive answered {status}", "Check user, password and the user's rights.")
    if status == httpx2.codes.NOT_FOUND and missing is NotInPacs:
        return NotInPacs(path, "the archive has no such object", "It was deleted, or never arrived.")
    if status == httpx2.codes.NOT_FOUND:
        return PacsClosed(path, "the archive does not know this path", "Check the address and the archive's version.")
    if 300 <= status < 400:
        return PacsClosed(path, f"the archive answered {status}: look elsewhere", "Check its address; a proxy may want a sign-in.")
    if status == _TOO_LARGE:
        remedy = "Raise the limit of the archive, or of the proxy before it, then `apprentice retry`."
        return PacsRefused(path, f"the archive answered {status}: too large", remedy)
    return PacsRefused(path, f"the archive answered {status}", "The object or the request is not to its liking; see its log.")
