"""A wait or a check of a run: looks until its condition holds, or its deadline is over.

Rule: deadlines are data seconds, as all else that the plan says; how often is looked is real time. A check may wait for
fresh data, never for the world to change.
"""

from collections.abc import Callable

from agent.wire.actions import Act, Acted, ActMode
from cockpit.errors import RequestError
from cockpit.runbook import journal
from cockpit.runbook.conditions import CONDITIONS, Look, Question, Sounding, Word
from cockpit.runbook.records import Plan, Step, StepKind
from cockpit.runbook.scene import host_number
from cockpit.runtime.base import Owner, ask

LOOK_S = 0.2
SOUND_S = 0.5


class Waiter:
    """One step that the console judges."""

    def __init__(self, owner: Owner, plan: Plan, step: Step, author: str) -> None:
        self._owner, self._plan, self._step, self._author = owner, plan, step, author
        self._condition = CONDITIONS.get(step.condition)
        self._began = owner.clock.now().mono
        self._sounding: Sounding | None = None
        self._held = 0
        self._stamp = float("-inf")

    async def until_over(self, say: Callable[[str], None]) -> tuple[str, str]:
        """(done, failed or skipped, one sentence)."""
        if self._condition is None:
            return journal.FAILED, f"this console does not know the condition {self._step.condition!r}: update it"
        clock, says = self._owner.clock, ""
        while True:
            look = await self._look()
            says = look.says
            if (over := self._judged(look)) is not None:
                return over, says
            if clock.now().mono - self._began > self._step.deadline_s:
                return self._late(look)
            say(says)
            await clock.sleep(SOUND_S if self._condition.sounds else LOOK_S)

    def _judged(self, look: Look) -> str | None:
        """The state of the step, once it is clear."""
        assert self._condition is not None
        if look.word is Word.BROKEN:
            return journal.FAILED
        if look.word is Word.HOLDS:
            if look.stamp > self._stamp:
                self._held, self._stamp = self._held + 1, look.stamp
            return journal.DONE if self._held >= self._condition.readings else None
        if look.word is Word.NOT_YET:
            self._held = 0
            return journal.FAILED if self._step.kind is StepKind.CHECK else None
        return None

    def _late(self, look: Look) -> tuple[str, str]:
        limit = f"{self._step.deadline_s:g} s"
        if self._step.soft:
            return journal.SKIPPED, f"not seen within {limit}: {look.says}"
        if look.word is Word.UNKNOWN:
            return journal.FAILED, f"it could not be known within {limit}: {look.says}"
        return journal.FAILED, f"not within {limit}: {look.says}"

    async def _look(self) -> Look:
        assert self._condition is not None
        step, fleet = self._step, self._owner.fleet
        host = host_number(fleet, step.target.host_id)
        if host is None:
            return Look(Word.UNKNOWN, f"{step.target.host} was never met")
        if self._condition.sounds:
            self._sounding = await self._sound()
        now = self._owner.clock.now()
        return self._condition.judge(Question(fleet, host, step.target, step.params, self._began, now, self._sounding))

    async def _sound(self) -> Sounding:
        """A dry run changes nothing and tells how the world is as of now."""
        assert self._condition is not None
        asked, step = self._owner.clock.now().mono, self._step
        act = Act(
            0, f"{self._plan.id}/{step.n}/look", ActMode.DRY, self._condition.sounds, step.target.subject,
            author=self._author, run=self._plan.id, step=step.n,
        )  # fmt: skip
        try:
            answer = await ask(self._owner, step.target.host_id, act)
        except RequestError as error:
            return Sounding(asked, {}, str(error))
        if not isinstance(answer, Acted):
            return Sounding(asked, {}, f"{step.target.host} answers something else")
        return Sounding(asked, answer.action.before)
