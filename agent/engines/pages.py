"""PURE. The newest answer of each of a replica's pages, read once: as metrics, as JSON, or not at all."""

from collections.abc import Mapping

from agent.engines.answer import Answer


class Pages:
    """`answers` by the path as the engine's table spells it."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self._answers = answers

    def answer(self, path: str) -> Answer | None:
        """What came back, if it was ever asked."""
        return self._answers.get(path)
