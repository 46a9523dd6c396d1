"""process.stop: one process that holds a GPU, known by pid and start; gone, and its memory free, before it is done."""

import re
from typing import Any

import pytest

from agent.actions.base import Reply
from agent.actions.registry import BY_ID
from agent.errors import Refusal
from agent.wire.actions import ActState
from tests.agent.actions.executors.house import BOOT, WHO, House, act, entry, guards

STOP = BY_ID["process.stop"]


def _house() -> tuple[House, int]:
    house = House()
    pid = house.spawn()
    house.hold(pid, "GPU-1", gib=20.5)
    return house, pid


async def _run(house: House, pid: int, **more: Any) -> Any:
    wish = act("process.stop", f"process:{pid}", **more)
    found = await STOP.preflight(wish, WHO, house)
    return await STOP.run(wish, WHO, found, house, lambda line: None)


async def test_a_plan_says_what_it_holds_and_that_nothing_brings_it_back() -> None:
    house, pid = _house()
    found = await STOP.preflight(act("process.stop", f"process:{pid}"), WHO, house)
    assert "/dev/nvidia0 and 20.5 GiB of GPU memory" in found.effect
    assert found.undo == ""
    assert found.expect == {"boot": BOOT, "started": str(pid * 7)}
    assert all(guard.ok for guard in found.guards)
    assert STOP.inverse(entry(act("process.stop", f"process:{pid}"), found.before)) is None


async def test_done_is_gone_and_its_memory_free() -> None:
    house, pid = _house()
    result = await _run(house, pid)
    assert result.state is ActState.DONE
    assert "its GPU memory is free" in result.says
    assert house.clock.real() >= 55.0


async def test_memory_that_stays_without_a_process_is_failed() -> None:
    house, pid = _house()

    def stop(args: Any, say: Any) -> Reply:
        del house.processes[pid]
        house.later(15.0, lambda: house.told["processes"][0].update(state="ghost"))
        return Reply("done", data={"killed": True})

    house.jobs["process.stop"] = stop
    result = await _run(house, pid)
    assert result.state is ActState.FAILED
    assert "still counts 20.5 GiB as its" in result.says


async def test_a_list_that_is_not_read_again_is_unknown_not_done() -> None:
    house, pid = _house()

    def stop(args: Any, say: Any) -> Reply:
        del house.processes[pid]
        return Reply("done")

    house.jobs["process.stop"] = stop
    assert (await _run(house, pid)).state is ActState.UNKNOWN


async def test_a_process_in_the_kernels_hands_is_warned_of_and_failed() -> None:
    house, pid = _house()
    house.processes[pid]["state"] = "D"
    house.jobs["process.stop"] = lambda args, say: Reply("failed", "it does not die")
    found = await STOP.preflight(act("process.stop", f"process:{pid}"), WHO, house)
    assert "uninterruptible sleep" in guards(found)["blocked"].says
    result = await _run(house, pid)
    assert result.state is ActState.FAILED
    assert "cannot die" in result.says


async def test_a_short_sleep_on_a_disk_is_nothing() -> None:
    house, pid = _house()
    house.processes[pid]["state"] = "D"
    house.later(0.1, lambda: house.processes[pid].update(state="S"))
    found = await STOP.preflight(act("process.stop", f"process:{pid}"), WHO, house)
    assert "blocked" not in guards(found)


async def test_who_would_start_it_again_or_lose_requests_is_said() -> None:
    house, pid = _house()
    house.processes[pid]["unit"] = "vllm@0.service"
    house.serve("vllm:8000", pids=(1, pid))
    found = await STOP.preflight(act("process.stop", f"process:{pid}"), WHO, house)
    assert "vllm:8000" in guards(found)["replica"].says
    assert "systemd.stop" in guards(found)["owner"].says
    house.processes[pid]["container"] = "c" * 64
    found = await STOP.preflight(act("process.stop", f"process:{pid}"), WHO, house)
    assert "container.stop" in guards(found)["owner"].says


async def test_who_holds_no_gpu_is_nobodys_business_here() -> None:
    house, _ = _house()
    other = house.spawn()
    found = await STOP.preflight(act("process.stop", f"process:{other}"), WHO, house)
    assert not guards(found)["holder"].ok
    assert not guards(found)["holder"].soft


@pytest.mark.parametrize("name", ["1", "0", "-1", "x", "12 ", "１２", "99999999999", "1e3"])
async def test_what_is_no_such_number_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="is not the number of a process"):
        await STOP.preflight(act("process.stop", f"process:{name}"), WHO, _house()[0])


async def test_gone_ghost_and_zombie_are_refused_each_with_what_to_try() -> None:
    house, pid = _house()
    with pytest.raises(Refusal, match="there is no process 77 on this host any more"):
        await STOP.preflight(act("process.stop", "process:77"), WHO, house)
    house.processes[pid]["state"] = "Z"
    with pytest.raises(Refusal, match="has ended already"):
        await STOP.preflight(act("process.stop", f"process:{pid}"), WHO, house)
    del house.processes[pid]
    with pytest.raises(Refusal, match=r"gpu\.holders tells who"):
        await STOP.preflight(act("process.stop", f"process:{pid}"), WHO, house)


async def test_another_process_under_the_number_is_refused() -> None:
    house, pid = _house()
    wish = act("process.stop", f"process:{pid}", expect={"started": "1"})
    found = await STOP.preflight(wish, WHO, house)
    assert not guards(found)["identity"].ok
    with pytest.raises(Refusal, match=re.escape(f"process {pid} is another one now")):
        await STOP.run(wish, WHO, found, house, lambda line: None)
    assert pid in house.processes


async def test_a_lost_answer_is_resolved_by_looking() -> None:
    house, pid = _house()
    house.lost = True
    assert (await _run(house, pid)).state is ActState.DONE
    house, pid = _house()
    house.jobs["process.stop"] = lambda args, say: None
    assert (await _run(house, pid)).state is ActState.UNKNOWN


async def test_after_a_crash_looking_alone_tells() -> None:
    house, pid = _house()
    wish = act("process.stop", f"process:{pid}")
    before = (await STOP.preflight(wish, WHO, house)).before
    assert (await STOP.settle(entry(wish, before), house)).state is ActState.FAILED
    house.keys[wish.key] = {"state": "ended", "says": ""}
    del house.processes[pid]
    house.told["processes"] = []
    assert (await STOP.settle(entry(wish, before), house)).state is ActState.DONE
