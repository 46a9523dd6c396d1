"""What an agent itself remembers, as the files of a bundle: lent to the executors by `agent.app`, for real and
simulated hosts alike. Whatever is in it has been told to viewers already, or may be."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Evidence(Protocol):
    """`directory` is where bundles are kept, None for an agent that keeps nothing."""

    directory: Path | None

    async def parts(self, since: float, until: float) -> Mapping[str, bytes]:
        """Files by name, between two wall seconds of the agent: what is missing says why inside its file."""
