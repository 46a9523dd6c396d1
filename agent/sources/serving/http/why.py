"""What went wrong, as a kind of failure and one sentence that names endpoint and page. PURE."""

import errno
import ssl

from agent.engines.answer import Ask, Failure
from agent.sources.serving.client import Endpoint
from agent.sources.serving.http.reply import Garbage, TooLarge

_NOBODY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL)


class Taken(ConnectionRefusedError):
    """Another socket has the port than the one that was looked at."""


def why(error: Exception, endpoint: Endpoint, ask: Ask, limit: int) -> tuple[Failure, str]:
    """Of an ask that brought no answer."""
    page = f"{endpoint.url}{ask.path.partition('?')[0]}"
    if isinstance(error, TooLarge):
        size = f"{error.size / 2**20:,.1f} MiB or more"
        return Failure.TOO_LARGE, f"{page} sends {size}, and {limit / 2**20:g} MiB is the most that is read"
    if isinstance(error, Garbage):
        closed = str(error).startswith(("closed", "said nothing"))
        return Failure.CLOSED if closed else Failure.GARBAGE, f"{page} {error}"
    if isinstance(error, TimeoutError):
        return Failure.TIMEOUT, f"{page} did not answer within {ask.deadline_s:g} s"
    if isinstance(error, ssl.SSLError):
        return Failure.TLS, _tls(error, endpoint)
    return _network(error, endpoint, page)


def _tls(error: ssl.SSLError, endpoint: Endpoint) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        name = endpoint.server_name or endpoint.address
        return f"the certificate of {endpoint.url} does not stand for {name!r}: {error.verify_message.rstrip('.')}"
    return f"{endpoint.url} does not speak TLS as agreed: {error.reason or error}"


def _network(error: Exception, endpoint: Endpoint, page: str) -> tuple[Failure, str]:
    if isinstance(error, Taken):
        says = f"another socket listens at {endpoint.url} than the one that the token is for"
        return Failure.REFUSED, says
    if isinstance(error, ConnectionRefusedError):
        return Failure.REFUSED, f"nobody listens at {endpoint.url}"
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return Failure.CLOSED, f"{page} closed the connection"
    if isinstance(error, PermissionError):
        return Failure.DENIED, f"this host does not let the agent connect to {endpoint.url}"
    if isinstance(error, FileNotFoundError):
        return Failure.TLS, f"the file of certificates {endpoint.ca_file} is not there"
    number = error.errno if isinstance(error, OSError) else None
    says = f"{endpoint.url} cannot be reached: {getattr(error, 'strerror', None) or error}"
    return Failure.UNREACHABLE if number in _NOBODY else Failure.CLOSED, says
