"""Lines for the audit that the agent says itself, and how long the audit is: asked in the background, never waited for.

At most `WAITING` lines wait; of more the oldest are left out, counted, and the next line says so. A helper that is
away loses them: the journal has them all the same.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from agent.actions.base import Reply, Root, RootAbsent, RootLost, Who
from agent.actions.conduct import who as roles
from agent.clock import Clock
from agent.sources.base import Reason

log = logging.getLogger(__name__)

WAITING = 64
ASK_S = 3.0
EVERY_S = 600.0  # and after each action: the helper ends when it is not wanted, and must not be started every minute


class Notes:
    """Talks to the root helper beside all actions."""

    def __init__(self, root: Root, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._waits: deque[dict[str, Any]] = deque()
        self._lost = 0
        self._wish = asyncio.Event()
        self.count = 0
        self.head = ""
        self.reasons: tuple[Reason, ...] = ()
        self._rules: tuple[tuple[tuple[str, ...], str], ...] | None = None

    def note(self, record: Mapping[str, Any], who: Who, key: str = "", run: str = "", step: str = "") -> None:
        """One line, soon."""
        if len(self._waits) >= WAITING:
            self._waits.popleft()
            self._lost += 1
        said = {"uid": who.uid, "user": who.user, "by": who.by, "role": who.role}
        self._waits.append(
            {"v": 1, "verb": "note", "record": dict(record), "who": said, "key": key, "run": run, "step": step}
        )
        self._wish.set()

    def look(self) -> None:
        """The audit has probably grown."""
        self._wish.set()

    def may(self, action: str, role: str) -> bool:
        """Whether some rule of the policy lets `role` have this action done, on something. Without word of the
        helper: operators, as everywhere."""
        if self._rules is None:
            return roles.covers(role, roles.OPERATOR)
        return any(
            roles.covers(role, wanted) and any(fnmatchcase(action, pattern) for pattern in actions)
            for actions, wanted in self._rules
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            self._wish.clear()
            await self._say()
            await self._look()
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._wish.wait()
            except TimeoutError:
                pass

    async def _say(self) -> None:
        while self._waits:
            request = self._waits.popleft()
            if self._lost:
                request["record"] = {**request["record"], "left_out": self._lost}
            reply = await self._ask(request)
            if reply is None or reply.end != "done":
                log.info("the audit does not have: %s", request["record"])
            else:
                self._lost = 0

    async def _look(self) -> None:
        head = await self._ask({"v": 1, "verb": "head"})
        policy = await self._ask({"v": 1, "verb": "look", "what": "policy"})
        if head is not None and isinstance(head.data.get("count"), int):
            self.count, self.head = head.data["count"], str(head.data.get("head") or "")
        rules = policy.data.get("rules") if policy is not None and policy.end != "refused" else None
        if isinstance(rules, (list, tuple)):  # a policy that cannot be obeyed allows nothing: its rules are none
            self._rules = tuple(
                (tuple(map(str, one.get("actions") or ())), str(one.get("role") or roles.OPERATOR))
                for one in rules
                if isinstance(one, Mapping)
            )
        if head is not None and policy is not None:
            self.reasons = tuple(_reasons(head, policy))

    async def _ask(self, request: Mapping[str, Any]) -> Reply | None:
        try:
            return await self._root.ask(request, deadline_s=ASK_S)
        except (RootAbsent, RootLost):
            return None


def _reasons(head: Reply, policy: Reply) -> Iterator[Reason]:
    """What an operator has to know of the audit and the policy before he acts."""
    if head.end == "refused":
        yield Reason("audit", "audit_unusable", head.says, "until it is mended nothing is done on this host")
    elif says := str(head.data.get("says") or ""):
        hint = "find out who was root here; `gpu-cockpit audit verify` compares it with what was seen before"
        yield Reason("audit", "audit_broken", says, hint)
    if policy.end == "failed":
        yield Reason("policy", "policy_wrong", policy.says, "`gpu-cockpit-agent check-config` checks it")
