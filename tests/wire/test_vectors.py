"""What once travelled must be understood for ever: by this code and by whoever comes later."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent.wire import limits, version
from agent.wire.codec import FRAMES, Decoder, encode
from agent.wire.kinds import FrameKind
from tests.lab import has_command, may_lack
from tests.wire.golden import FOLDER, Vector, stored, to_json

VECTORS = stored()
CURRENT = [vector for vector in VECTORS if vector.meaning["protocol"][1] == version.MINOR]  # an older minor: understood


def meant(found: Any, then: Any) -> Any:
    """What was found, without the keys of records that later minors added and that stand at their empty defaults."""
    if isinstance(found, dict) and isinstance(then, dict):
        added = {key for key in found.keys() - then.keys() if not found[key]}
        return {key: meant(item, then.get(key)) for key, item in found.items() if key not in added}
    if isinstance(found, list) and isinstance(then, list) and len(found) == len(then):
        return [meant(item, before) for item, before in zip(found, then, strict=True)]
    return found


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_a_vector_decodes_to_its_meaning(vector: Vector) -> None:
    assert meant(to_json(vector.frames()), vector.meaning["frames"]) == vector.meaning["frames"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_a_vector_decodes_the_same_however_it_is_cut(vector: Vector) -> None:
    for size in (1, 2, 3, 7, 64, 1000):
        decoder = Decoder(limits.FROM_AGENT_BYTES, preamble=vector.preamble)
        frames = [
            frame for at in range(0, len(vector.wire), size) for frame in decoder.feed(vector.wire[at : at + size])
        ]
        assert meant(to_json(frames), vector.meaning["frames"]) == vector.meaning["frames"]


@pytest.mark.parametrize("vector", CURRENT, ids=lambda vector: vector.name)
def test_what_it_means_is_encoded_to_the_same_bytes(vector: Vector) -> None:
    opening = version.PREAMBLE if vector.preamble else b""
    assert opening + b"".join(encode(frame) for frame in vector.frames()) == vector.wire


def test_every_kind_of_frame_has_a_vector() -> None:
    seen = {item["frame"] for vector in VECTORS for item in vector.meaning["frames"]}
    assert seen == {frame.__name__ for frame in FRAMES}


def test_both_ways_of_a_session_have_a_transcript() -> None:
    assert {"session-from-agent", "session-from-cockpit"} <= {vector.name for vector in VECTORS}


def test_every_vector_has_both_its_files() -> None:
    assert {path.stem for path in FOLDER.glob("*.bin")} == {path.stem for path in FOLDER.glob("*.json")}


def test_numbers_of_kinds_are_for_ever() -> None:
    assert {kind.name: kind.value for kind in FrameKind} == {
        "HELLO": 1, "SUBSCRIBE": 2, "LAYOUT": 3, "SNAPSHOT": 4, "SYNCED": 5, "SAMPLE": 6, "FACTS": 7, "EVENT": 8,
        "GAP": 9, "ACK": 10, "PING": 11, "PONG": 12, "ERROR": 13, "BYE": 14, "HISTORY": 15, "JOURNAL": 16, "ACT": 17,
        "ANNOTATE": 18, "SERIES": 19, "PAGE": 20, "DONE": 21, "REFUSED": 22, "LOG": 23, "LINES": 24,
        "ACTED": 25, "RUN": 26, "CLAIM": 27, "CLAIMED": 28, "AUDIT": 29, "AUDITED": 30, "FETCH": 31, "CHUNK": 32,
    }  # fmt: skip


def test_no_vector_was_changed_or_taken_away() -> None:
    root = Path(__file__).parents[2]
    git = ["git", "-C", str(root), "log", "--diff-filter=MD", "--format=", "--name-only", "--", "tests/wire/vectors"]
    may_lack("the repository's git history", has_command("git") and (root / ".git").exists())
    done = subprocess.run(git, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
