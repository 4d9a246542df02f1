"""What went wrong on the way to a host, in words, and whether trying again can help."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl

from urllib3 import exceptions as urllib3_errors

from wclayer.errors import NetworkError

__all__ = ["BROKEN_OFF", "ConnectionBroken", "PrivateAddress", "connection_error", "explain_failure"]

BROKEN_OFF = "the connection was closed in the middle of the answer"

_NOT_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_MESSAGE")
_FOR_GOOD = (errno.ENOENT, errno.EACCES, errno.EPERM)


class ConnectionBroken(NetworkError):
    """No answer, or only a part of one.

    ``transient`` is true when the next attempt may fare better, ``is_unreachable`` when nothing answered at all, and
    ``is_garbled`` when something did, but not in HTTP: it closed the connection, or it spoke something else.
    """

    def __init__(
        self,
        message: str,
        *,
        transient: bool,
        is_unreachable: bool = False,
        is_garbled: bool = False,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.transient = transient
        self.is_unreachable = is_unreachable
        self.is_garbled = is_garbled


class PrivateAddress(OSError):
    """The connection would lead into a private network, where what asked for it must not lead."""


def connection_error(error: Exception, place: str) -> ConnectionBroken:
    """The error of a request to ``place`` that got no answer."""
    cause = _innermost(error)
    if isinstance(cause, PrivateAddress):
        hint = "it was named by an answer, not by you; --allow-private-urls allows it"
        return ConnectionBroken(f"{place}: {cause}", transient=False, hint=hint)
    text = f"cannot reach {place}: {explain_failure(error)}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        hint = "trust its authority with --ca-file FILE, or give up checking with --insecure"
        return ConnectionBroken(text, transient=False, hint=hint)
    if isinstance(cause, ssl.SSLError):
        reason = cause.reason or ""
        plain = "--plain-http speaks http" if any(word in reason for word in _NOT_TLS) else None
        return ConnectionBroken(text, transient=isinstance(cause, ssl.SSLEOFError), hint=plain)
    if isinstance(cause, socket.gaierror):
        return ConnectionBroken(text, transient=cause.errno == socket.EAI_AGAIN, is_unreachable=True)
    if isinstance(cause, ConnectionRefusedError):
        hint = "nothing listens there: is it running, is the port right?"
        return ConnectionBroken(text, transient=True, is_unreachable=True, hint=hint)
    if isinstance(cause, OSError) and cause.errno in _FOR_GOOD:
        return ConnectionBroken(text, transient=False)
    if "Tunnel connection failed: 4" in str(cause):
        hint = "the proxy says so; --proxy takes http://NAME:PASSWORD@HOST:PORT, and NO_PROXY leaves hosts out"
        return ConnectionBroken(text, transient=False, hint=hint)
    transient = not isinstance(cause, urllib3_errors.LocationValueError | urllib3_errors.InvalidHeader | UnicodeError)
    garbled = isinstance(cause, http.client.HTTPException | ConnectionResetError)
    return ConnectionBroken(text, transient=transient, is_garbled=garbled)


def explain_failure(error: BaseException) -> str:
    """What ``error`` means, without addresses, which may hold secrets."""
    cause = _innermost(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, ssl.SSLError):
        reason = (cause.reason or "").replace("_", " ").lower()
        if any(word in (cause.reason or "") for word in _NOT_TLS):
            return f"it does not speak TLS ({reason})"
        return f"TLS failed: {reason or 'the connection was closed'}"
    if isinstance(cause, socket.gaierror):
        return f"its name cannot be resolved: {cause.strerror}"
    if isinstance(cause, http.client.RemoteDisconnected):
        return "the connection was closed without an answer"
    if isinstance(cause, http.client.IncompleteRead | urllib3_errors.IncompleteRead):
        return BROKEN_OFF
    if isinstance(cause, TimeoutError | urllib3_errors.ReadTimeoutError):
        return "timed out waiting for bytes"
    if isinstance(cause, urllib3_errors.ConnectTimeoutError) and not isinstance(
        cause, urllib3_errors.NewConnectionError
    ):
        return "timed out connecting"
    if isinstance(cause, urllib3_errors.InvalidHeader):
        return "contradicting lengths in its headers"
    if isinstance(cause, OSError) and cause.strerror:
        return cause.strerror.lower()
    if isinstance(cause, http.client.HTTPException):
        return f"not an answer of HTTP ({type(cause).__name__})"
    if isinstance(cause, OSError):
        return str(cause) or type(cause).__name__
    return f"broken off ({type(cause).__name__})"


def _innermost(error: BaseException) -> BaseException:
    """The cause at the bottom: urllib3 wraps what http.client raises, which wraps what the system said."""
    seen = {id(error)}
    while True:
        inner = (
            error.__cause__
            or error.__context__
            or next((one for one in error.args if isinstance(one, BaseException)), None)
        )
        if inner is None or id(inner) in seen:
            return error
        if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead | PrivateAddress):
            return error
        seen.add(id(inner))
        error = inner
