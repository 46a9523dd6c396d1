"""What is done with a request: looked up, allowed or refused, written down, done, written down.

The order of `act` is the promise: the key is taken first, then arguments, policy, lock and what is expected are judged,
then the audit has it, and only then anything is touched.
"""

import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.actuator import child
from agent.actuator.audit import Audit, Unaudited, boot_id
from agent.actuator.family import (
    BUSY,
    CHANGED,
    DENIED,
    DONE,
    FAILED,
    MANY,
    REFUSED,
    TOOL,
    UNAUDITED,
    UNKNOWN,
    Action,
    Argv,
    Entry,
    Family,
    Job,
    Look,
    Outcome,
    Ran,
    Refused,
    Values,
)
from agent.actuator.lines import Teller
from agent.actuator.policy import Decision, Policy, Wrong, may
from agent.actuator.redact import redact_text
from agent.actuator.text import cut, plain
from agent.actuator.values import checked, expected, key_of, text_of, who_of, whole_of
from agent.actuator.voice import ERROR, tell

_MANY = "too many lines were written within a minute"
NOTE_BYTES = 8 * 1024
AUDIT_LINES = 200
REQUESTS = ("plan", "act", "look", "note", "head", "audit", "read", "void")
_ENVELOPE = ("v", "verb", "what", "who", "key", "run", "step", "reason")


@dataclass(slots=True)
class Worker:
    """The hands of one request."""

    state: Path
    teller: Teller
    policy: Policy

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Of the policy as it is now."""
        try:
            return self.policy.read()
        except (Wrong, FileNotFoundError):
            return ()

    def say(self, line: str) -> None:
        """One line of progress."""
        self.teller.say(line)

    def run(self, argv: Argv, deadline_s: float, quiet: bool = False) -> Ran:
        """A child with a clean environment."""
        return child.run(argv, deadline_s, None if quiet else self.say)


@dataclass(slots=True)
class Locks:
    """One action on a target at a time."""

    _held: dict[str, str] = field(default_factory=dict)
    _free: threading.Condition = field(default_factory=threading.Condition)

    def take(self, target: str, action: str, wait_s: float) -> None:
        """Raises Refused."""
        with self._free:
            if not self._free.wait_for(lambda: target not in self._held, wait_s):
                raise Refused(f"{self._held[target]} of {target} is under way: one action on a target at a time", BUSY)
            self._held[target] = action

    def let_go(self, target: str) -> None:
        """Somebody else may."""
        with self._free:
            self._held.pop(target, None)
            self._free.notify_all()


class Closed:
    """The desk of a helper that has no audit: whatever is wanted, nothing is done."""

    busy = False

    def __init__(self, says: str) -> None:
        self._says = f"nothing is done, for it cannot be audited: {says}"

    def answer(self, request: Mapping[str, Any], teller: Teller) -> Outcome:
        """Why not."""
        return Outcome(REFUSED, self._says, UNAUDITED)

    def refuse(self, request: Mapping[str, Any], refused: Refused) -> Outcome:
        """A refusal."""
        return Outcome(REFUSED, refused.says, refused.code)

    def mark(self, record: Mapping[str, Any]) -> None:
        """It cannot be written down."""


class Desk:
    """All verbs, for the actions and looks of these families. `notes` says whether one more line of a request that
    does nothing may be written down now."""

    def __init__(self, families: Sequence[Family], policy: Policy, audit: Audit, state: Path,
                 notes: Callable[[], bool]) -> None:  # fmt: skip
        self.policy, self.audit = policy, audit
        self._actions = {action.id: action for family in families for action in family.actions}
        self._looks = {name: look for family in families for name, look in family.looks.items()}
        self._state = state
        self._notes = notes
        self._locks = Locks()
        self._keys = threading.Lock()
        self._running: set[str] = set()
        self._boot = boot_id()
        self._verbs: dict[str, Callable[[Mapping[str, Any], Worker], Outcome]] = {
            "plan": self._plan, "act": self._act, "look": self._look, "read": self._look, "note": self._note,
            "head": self._head, "audit": self._audit, "void": self._void,
        }  # fmt: skip

    @property
    def busy(self) -> bool:
        """Whether an action is under way."""
        return bool(self._running)

    def answer(self, request: Mapping[str, Any], teller: Teller) -> Outcome:
        """Do what is wanted."""
        verb = request.get("verb")
        handle = self._verbs.get(verb) if isinstance(verb, str) else None
        if handle is None:
            raise Refused(f"there is no verb {plain(str(verb), 32)!r}; known are {', '.join(self._verbs)}")
        return _washed(handle(request, Worker(self._state, teller, self.policy)))

    def refuse(self, request: Mapping[str, Any], refused: Refused) -> Outcome:
        """A refusal, on the record if it was more than a look."""
        if request.get("verb") in ("act", "note", "void"):
            self.mark({"outcome": REFUSED, "says": refused.says, "code": refused.code, **_told(request)})
        return Outcome(REFUSED, refused.says, refused.code)

    def mark(self, record: Mapping[str, Any]) -> None:
        """Write down what was refused, unless too much is."""
        if self.audit.roomy and self._notes():
            try:
                self.audit.add({"what": "refused", **record})
            except Unaudited as error:
                tell(ERROR, str(error))

    def _plan(self, request: Mapping[str, Any], hands: Worker) -> Outcome:
        action, values, expect = self._wanted(request)
        decision = self.policy.decide(action, values)
        if decision.entry is None:
            return Outcome(DONE, data={"allowed": False, "rule": "", "role": "", "argv": [], "says": decision.says,
                                       "missing": ""})  # fmt: skip
        names = text_of(request, "key", 96), text_of(request, "run")
        job = Job(action.id, decision.entry, values, expect, hands, *names, who_of(request))
        found: dict[str, Any] = {"allowed": True, "rule": decision.rule, "role": decision.role, "missing": ""}
        found["says"] = f"{decision.rule} allows {action.id} to role {decision.role}"
        try:
            found["argv"] = [list(argv) for argv in action.commands(job)]
            found |= action.more(job) if action.more else {}
        except Refused as refused:
            missing = refused.says.partition(" ")[0] if refused.code == TOOL else ""
            found |= {"argv": [], "says": refused.says, "missing": missing, "code": refused.code}
        return Outcome(DONE, data=found)

    def _act(self, request: Mapping[str, Any], hands: Worker) -> Outcome:
        key = key_of(request)
        with self._keys:
            known = self._known(key)
            if known is not None:
                return known
            self._running.add(key)
        try:
            return self._begin(key, request, hands)
        finally:
            self._running.discard(key)

    def _begin(self, key: str, request: Mapping[str, Any], hands: Worker) -> Outcome:
        action, values, expect = self._wanted(request)
        who = who_of(request)
        decision = self.policy.decide(action, values)
        if decision.entry is None:
            raise Refused(decision.says, DENIED)
        if not may(who["role"], decision.role):
            raise Refused(f"{action.id} needs the role {decision.role} ({decision.rule}), not {who['role']!r}", DENIED)
        if action.perform is None:
            raise Refused(f"{action.id} is executed by the agent itself")
        if expect.get("boot", self._boot) != self._boot:
            raise Refused("the host was booted since: what was planned is about another life of it", CHANGED)
        job = Job(action.id, decision.entry, values, expect, hands, key, text_of(request, "run"), who)
        target = action.target(decision.entry, values)
        self._locks.take(target, action.id, action.lock_s)
        try:
            return self._do(action, action.perform, job, decision, request)
        finally:
            self._locks.let_go(target)

    def _do(self, action: Action, perform: Callable[[Job], Outcome], job: Job, decision: Decision,
            request: Mapping[str, Any]) -> Outcome:  # fmt: skip
        argv = [list(one) for one in action.commands(job)]
        record = {**_told(request), "argv": argv, "rule": decision.rule}
        try:
            self.audit.began(job.key, record)
        except Unaudited as error:
            raise Refused(f"it was not begun, for it cannot be audited: {error}", UNAUDITED) from None
        try:
            outcome = _washed(perform(job))
        except Refused as refused:
            outcome = Outcome(REFUSED, refused.says, refused.code)
        except Exception as error:  # noqa: BLE001 - whatever it is, it began, and the audit must have its end
            tell(ERROR, traceback.format_exc())
            says = f"the root helper failed inside ({type(error).__name__}): whether it took place has to be looked at"
            outcome = Outcome(UNKNOWN, says)
        ended = {"action": action.id, "outcome": outcome.end, "says": outcome.says, "code": outcome.code}
        if self.audit.ended(job.key, {**ended, "data": cut(outcome.data, 200), "run": job.run}):
            return outcome
        says = f"{outcome.says}; its end is not in the audit yet, for the file cannot be written"
        return Outcome(outcome.end, says, outcome.code, outcome.data)

    def _wanted(self, request: Mapping[str, Any]) -> tuple[Action, Values, Mapping[str, str]]:
        name = request.get("action")
        action = self._actions.get(name) if isinstance(name, str) else None
        if action is None:
            raise Refused(f"there is no action {plain(str(name), 64)!r}")
        given = request.get("args", {})
        if not isinstance(given, Mapping):
            raise Refused("args must be a map")
        values = checked(action.args, {name: value for name, value in given.items() if name != "expect"})
        return action, values, expected(given.get("expect", {}))

    def _known(self, key: str) -> Outcome | None:
        known = self.audit.keys.get(key)
        running = key in self._running
        if known is None and not running:
            return None
        if known is None or known.end is None:
            says = "it is under way" if running else "it began, and nobody can say how it ended"
            return Outcome(UNKNOWN, says, data={"repeat": True, "running": running})
        return Outcome(known.end, known.says, data={**(known.data or {}), "repeat": True})

    def _look(self, request: Mapping[str, Any], hands: Worker) -> Outcome:
        what = "bundle" if request.get("verb") == "read" else request.get("what")
        if what == "key":
            return self._look_key(request)
        if what == "policy":
            return self._look_policy()
        look: Look | None = self._looks.get(what) if isinstance(what, str) else None
        if look is None:
            raise Refused(f"there is nothing to look at under the name {plain(str(what), 32)!r}")
        given = {name: value for name, value in request.items() if name not in _ENVELOPE or name in look.args}
        return look.see(hands, checked(look.args, given))

    def _look_key(self, request: Mapping[str, Any]) -> Outcome:
        key = key_of(request)
        known, running = self.audit.keys.get(key), key in self._running
        if known is None:
            state = "begun" if running else "none"
            return Outcome(DONE, data={"state": state, "known": running, "running": running, "end": "", "says": ""})
        state = "begun" if known.end is None else "ended"
        found = {"state": state, "known": True, "running": running, "end": known.end or "", "says": known.says}
        return Outcome(DONE, data={**found, "data": dict(known.data or {})})

    def _look_policy(self) -> Outcome:
        path = str(self.policy.path)
        try:
            entries = self.policy.read()
        except FileNotFoundError:
            says = f"there is no {path}, so nobody may act on this host"
            return Outcome(DONE, says, data={"rules": [], "path": path})
        except Wrong as wrong:
            return Outcome(FAILED, str(wrong), DENIED, {"rules": []})
        rules = [{"actions": list(entry.actions), "role": entry.role} for entry in entries]
        return Outcome(DONE, f"{path} has {len(entries)} [[allow]]", data={"rules": rules, "path": path})

    def _void(self, request: Mapping[str, Any], hands: Worker) -> Outcome:
        key = key_of(request)
        with self._keys:
            seen = self._look_key(request)
            if seen.data["state"] != "none":
                return seen
            self._noting()
            says = "it was given up before it began: nothing was touched"
            try:
                self.audit.void(key, {**_told(request), "outcome": REFUSED, "says": says})
            except Unaudited as error:
                raise Refused(str(error), UNAUDITED) from None
        return seen

    def _note(self, request: Mapping[str, Any], hands: Worker) -> Outcome:
        record = request.get("record")
        if not isinstance(record, Mapping) or len(record) > 64 or len(str(record)) > NOTE_BYTES:
            raise Refused(f"a note is a map of at most {NOTE_BYTES} bytes")
        self._noting()
        try:
            number = self.audit.add({"what": "note", **_told(request), "by": "agent", "record": dict(record)})
        except Unaudited as error:
            raise Refused(str(error), UNAUDITED) from None
        return Outcome(DONE, data={"n": number})

    def _noting(self) -> None:
        """Raises Refused: no more is written of what does nothing."""
        if not self.audit.roomy:
            raise Refused(f"{self.audit.path} is half full, and the rest is for what is done: move it away", UNAUDITED)
        if not self._notes():
            raise Refused(_MANY, MANY)

    def _head(self, request: Mapping[str, Any], hands: Worker) -> Outcome:
        count, head, says = self.audit.head()
        return Outcome(DONE, data={"count": count, "head": head, "says": says})

    def _audit(self, request: Mapping[str, Any], hands: Worker) -> Outcome:
        first, limit = whole_of(request, "first", 1, 2**40), whole_of(request, "limit", 1, AUDIT_LINES)
        lines = self.audit.lines(first, limit)
        texts = [line.decode("utf-8", "surrogateescape") for line in lines]
        count, head, says = self.audit.head()
        return Outcome(DONE, data={"first": first, "lines": texts, "count": count, "head": head, "says": says})


def _told(request: Mapping[str, Any]) -> dict[str, Any]:
    """What of a request is written down: as it was said, cleaned and cut."""
    found: dict[str, Any] = {"action": text_of(request, "action"), "args": request.get("args", {})}
    found |= {name: text_of(request, name, 500) for name in ("key", "run", "step")}
    return {**found, "reason": redact_text(text_of(request, "reason", 500)), "who": who_of(request)}


def _washed(outcome: Outcome) -> Outcome:
    """Its sentence may hold the last words of a program, and those a secret."""
    return replace(outcome, says=redact_text(outcome.says))
