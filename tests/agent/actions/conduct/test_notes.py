"""What the agent learns of its root helper beside all actions: the audit's head, the rules, and what is wrong."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from agent.actions.base import Who
from agent.actions.conduct.notes import Notes
from agent.actions.real.root import ActuatorRoot
from agent.clock import SystemClock
from tests.actuator.helper import Helper

POLICY = '[[allow]]\nactions = ["systemd.*"]\nunits = ["a.service"]\nrole = "admin"\n'


async def until(notes: Notes, holds: Callable[[Notes], bool]) -> None:
    """Have it look until it is so."""
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(notes.run())
        while not holds(notes):
            notes.look()
            await asyncio.sleep(0.01)
        task.cancel()


def codes(notes: Notes) -> list[str]:
    return [reason.code for reason in notes.reasons]


async def test_of_a_policy_that_cannot_be_obeyed_everybody_hears_and_nobody_may(tmp_path: Path) -> None:
    with Helper(tmp_path, POLICY) as helper:
        notes = Notes(ActuatorRoot(helper.socket, os.getuid()), SystemClock())
        assert notes.may("systemd.stop", "operator"), "as everywhere, before anything was heard"
        await until(notes, lambda notes: notes.count > 0 and not notes.may("systemd.stop", "operator"))
        assert notes.may("systemd.stop", "admin")
        assert notes.reasons == ()
        helper.policy.write_text(POLICY.replace("units", "unit"))
        await until(notes, lambda notes: codes(notes) == ["policy_wrong"])
        assert "[[allow]] 1 has the unknown key 'unit'; did you mean 'units'?" in notes.reasons[0].says
        assert not notes.may("systemd.stop", "admin")
        helper.policy.unlink()
        await until(notes, lambda notes: codes(notes) == [])
        assert not notes.may("systemd.stop", "admin")


async def test_an_audit_that_was_changed_or_cannot_be_written_is_told(tmp_path: Path) -> None:
    with Helper(tmp_path, POLICY) as helper:
        notes = Notes(ActuatorRoot(helper.socket, os.getuid()), SystemClock())
        notes.note({"what": "one"}, Who(1000, "alice", "operator"))
        await until(notes, lambda notes: notes.count >= 2)
        helper.end()
        helper.audit.write_bytes(helper.audit.read_bytes().replace(b'"what":"one"', b'"what":"two"'))
        helper.start()
        await until(notes, lambda notes: codes(notes) == ["audit_broken"])
        assert "line 2 was changed" in notes.reasons[0].says
        helper.end()
        helper.audit.chmod(0o666)
        helper.start()
        await until(notes, lambda notes: codes(notes) == ["audit_unusable"])
        assert "can be written by others than root" in notes.reasons[0].says
