"""What a link asks of the way to an agent, whatever it is made of: one byte stream, and one sentence when it fails."""

from typing import Protocol

from cockpit.errors import LinkError
from cockpit.fleet.link_state import LinkState


class OtherPath(LinkError):
    """This path to the agent does not lead there, another may: open again at once. Nothing is shown and nobody waits.

    A way may say so a few times for one connection, never for ever.
    """

    def __init__(self, says: str) -> None:
        super().__init__(LinkState.CONNECTING, says)


class Receiver(Protocol):
    """Who gets what arrives; both methods are called in the loop and must not block or raise."""

    def data(self, data: bytes) -> None:
        """Bytes of the stream, in order."""

    def lost(self, error: LinkError) -> None:
        """The stream has ended; the error says which hop and why. Called once."""


class Channel(Protocol):
    """The sending side of an open stream."""

    def write(self, data: bytes) -> None:
        """Send; on a stream that has ended this does nothing, `Receiver.lost` tells."""

    def close(self) -> None:
        """Give the stream up; nothing is awaited."""


class Way(Protocol):
    """How to reach one agent."""

    async def reach(self, deadline_s: float) -> float:
        """Get as far as the host: logins and their queues; nothing where there is nothing to log in to. Returns the
        seconds that the login took without the queues, 0.0 if there was nothing to do.

        Raises:
            LinkError: it cannot be reached.
        """

    async def open(self, receiver: Receiver, deadline_s: float) -> Channel:
        """A new stream to the agent of a host that was reached.

        Raises:
            OtherPath: not this way; also through `Receiver.lost`.
            LinkError: it cannot be had; `state`, `hop` and `hint` say what that means.
        """

    def beside(self) -> "Way | None":
        """Another way to the same host that shares no connection with this one but those of bastions: a fresh attempt
        races a stream that has fallen silent on it. None: never two at a time."""

    def watch(self, closely: bool) -> None:
        """Frames have stopped, or flow again: whether the way should find out by itself that it is broken."""

    def retry(self) -> None:
        """The operator asks for another attempt: forget refusals that were remembered."""

    async def close(self) -> None:
        """Let go of everything, within a second."""
