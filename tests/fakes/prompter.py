"""A human who answers by a script, or not at all."""

import asyncio
from collections.abc import Iterable

from cockpit.link.asking.prompts import PromptRequest


class FakePrompter:
    """Gives the answers in order, None to decline; when they are used up the human has left the room."""

    def __init__(self, answers: Iterable[str | None] = (), *, after_s: float = 0.0) -> None:
        self.answers = list(answers)
        self.after_s = after_s
        self.asked: list[PromptRequest] = []
        self.withdrawn = 0
        self.at_once = 0
        self.most_at_once = 0

    async def ask(self, request: PromptRequest) -> str | None:
        self.asked.append(request)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if not self.answers:
                await asyncio.Event().wait()
            answer = self.answers.pop(0)
            await asyncio.sleep(self.after_s)
            return answer
        except asyncio.CancelledError:
            self.withdrawn += 1
            raise
        finally:
            self.at_once -= 1
