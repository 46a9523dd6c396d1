"""PURE. Conditions on a server behind a load balancer, by what the balancer itself says when it is asked.

HAProxy's state DRAIN is no proof that nothing runs: sessions and queue are counted by the balancer, after the drain.
"""

from cockpit.runbook.conditions.base import Condition, Look, Question, Word

_OUT = ("drain", "maint")
DRAIN = "haproxy.drain"
READY = "haproxy.ready"


def _asked(question: Question) -> Look | None:
    """Why the balancer's answer cannot be used; None if it can."""
    said = question.sounding
    if said is None or said.asked < question.since:
        return Look(Word.UNKNOWN, f"{question.target.host} has not been asked yet")
    if said.trouble:
        return Look(Word.UNKNOWN, said.trouble, said.asked)
    if "state" not in said.before:
        return Look(Word.UNKNOWN, f"{question.target.host} does not say how {question.target.name} is", said.asked)
    return None


def _idle(question: Question) -> Look:
    if (cannot := _asked(question)) is not None:
        return cannot
    assert question.sounding is not None
    said, stamp = question.sounding.before, question.sounding.asked
    if said["state"] not in _OUT:
        return Look(Word.BROKEN, f"{question.target.name} takes requests again: somebody has put it back", stamp)
    flying, queued = _count(said.get("in_flight")), _count(said.get("queued"))
    if flying is None or queued is None:
        return Look(Word.UNKNOWN, "the balancer does not say how many requests are in flight", stamp)
    if flying or queued:
        return Look(Word.NOT_YET, f"{flying} in flight, {queued} queued at {question.target.name}", stamp)
    return Look(Word.HOLDS, f"nothing in flight at {question.target.name}, by the balancer's own counters", stamp)


def _serves(question: Question) -> Look:
    if (cannot := _asked(question)) is not None:
        return cannot
    assert question.sounding is not None
    said, stamp = question.sounding.before, question.sounding.asked
    status = said.get("status", "").upper()
    if said["state"] != "ready":
        return Look(Word.NOT_YET, f"{question.target.name} is still set to {said['state']}", stamp)
    if status and not status.startswith(("UP", "NO CHECK", "OPEN")):
        return Look(Word.NOT_YET, f"the balancer's check of {question.target.name} says {status}", stamp)
    return Look(Word.HOLDS, f"{question.target.name} is {status or 'ready'} at the balancer", stamp)


def _checked(question: Question) -> Look:
    """As the balancer's health check sees it while it is still out: UP or DRAIN, and not DOWN."""
    if (cannot := _asked(question)) is not None:
        return cannot
    assert question.sounding is not None
    said, stamp = question.sounding.before, question.sounding.asked
    status = said.get("status", "").upper()
    if "DOWN" in status:
        return Look(Word.NOT_YET, f"the balancer's check of {question.target.name} says {status}", stamp)
    return Look(Word.HOLDS, f"the balancer's check of {question.target.name} passes ({status or said['state']})", stamp)


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


CONDITIONS = (
    Condition("server.idle", "server", "nothing is in flight there, twice in a row", _idle, 2, DRAIN),
    Condition("server.checked", "server", "the balancer's own check of it passes", _checked, 2, READY),
    Condition("server.serves", "server", "the balancer sends it requests again", _serves, 2, READY),
)
