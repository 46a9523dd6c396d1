"""What comes out of a bridge: noise, the preamble, or nothing of the kind."""

from agent.wire.version import PREAMBLE
from cockpit.errors import LinkError
from cockpit.link.ssh.streams import Bridge, Path


class Ears:
    """A receiver and the ends of a stream in one: remembers what it was told."""

    def __init__(self) -> None:
        self.heard = b""
        self.told: list[object] = []

    def data(self, data: bytes) -> None:
        self.heard += data

    def lost(self, error: Exception | None) -> LinkError:  # type: ignore[override]
        self.told.append(("lost", str(error)))
        return LinkError("agent_down", "lost")

    def reached(self, path: Path) -> None:
        self.told.append(path)

    def missed(self, path: Path, status: int | None, said: str) -> LinkError:
        self.told.append((path, status, said))
        return LinkError("agent_down", "missed")


def bridge(ears: Ears) -> Bridge:
    return Bridge(ears, Path.BRIDGE, ears, 1.0)


def test_a_preamble_is_seen_in_whatever_pieces_it_comes() -> None:
    everything = b"Welcome!\r\n" + PREAMBLE + b"hello"
    for cut in range(1, len(everything)):
        ears = Ears()
        stream = bridge(ears)
        stream.data_received(everything[:cut], None)
        stream.data_received(everything[cut:], None)
        assert ears.told == [Path.BRIDGE]
        assert ears.heard == everything


def test_a_preamble_at_the_head_of_a_large_piece_is_seen() -> None:
    ears = Ears()
    bridge(ears).data_received(PREAMBLE + b"x" * 60_000, None)
    assert ears.told == [Path.BRIDGE]


def test_what_ran_instead_is_quoted_from_its_beginning_stderr_first() -> None:
    for pieces, quoted in (
        ([(b"This account is not available.\n", None)], "This account is not available.\n"),
        ([(b"motd\n", None), (b"sh: not found\n", 1)], "sh: not found\n"),
        ([(b"a" * 3000, None)], "a" * 2048),
    ):
        ears = Ears()
        stream = bridge(ears)
        for data, kind in pieces:
            stream.data_received(data, kind)
        stream.exit_status_received(1)
        stream.connection_lost(None)
        assert ears.told == [(Path.BRIDGE, 1, quoted), ("lost", "missed")]


def test_a_bridge_that_was_given_up_says_nothing_any_more() -> None:
    ears = Ears()
    stream = bridge(ears)
    stream.close()
    stream.data_received(b"late", None)
    stream.connection_lost(None)
    assert (ears.told, ears.heard) == ([], b"")
