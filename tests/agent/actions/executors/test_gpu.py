"""gpu.*: who holds a GPU and how it is let go, and the agent's own hold."""

import pytest

from agent.actions.registry import BY_ID
from agent.errors import Refusal
from agent.wire.actions import ActState
from tests.agent.actions.executors.house import WHO, House, act, entry, guards

GPU = "GPU-11111111-2222-3333-4444-555555555555"


def _house() -> House:
    house = House()
    house.told["gpus"] = {GPU: {"index": 0, "minor": 0}}
    house.told["agent"] = {"pid": 900}
    return house


def _holder(pid: int, comm: str, **more: object) -> dict[str, object]:
    return {"pid": pid, "ppid": 1, "comm": comm, "state": "S", "unit": "", "container": "", **more}


async def test_holders_are_said_line_by_line_with_what_lets_go() -> None:
    house = _house()
    pid = house.spawn()
    house.hold(pid, GPU, gib=2)
    house.told["processes"].append({"pid": 66, "gpus": [GPU], "state": "ghost"})
    house.told["look holders"] = {
        "holders": [
            _holder(pid, "python3", unit="vllm@0.service"),
            _holder(2, "nvidia-persiste"),
            _holder(3, "python3", container="c" * 64, state="D"),
            _holder(901, "python3", ppid=900),
        ],
        "hidden": 1,
    }
    wish = act("gpu.holders", f"gpu:{GPU}")
    lines: list[str] = []
    found = await BY_ID["gpu.holders"].preflight(wish, WHO, house)
    result = await BY_ID["gpu.holders"].run(wish, WHO, found, house, lines.append)
    assert result.state is ActState.DONE
    assert "5 processes hold GPU 0" in result.says
    assert "1 processes could not be looked into" in result.says
    assert f"pid {pid} python3, 2.0 GiB of vllm@0.service: systemd.stop" in lines
    assert any("nvidia-smi -pm 0" in line for line in lines)
    assert any("does not reach it" in line and "container.stop" in line for line in lines)
    assert any("this agent: gpu.let_go" in line for line in lines)
    assert any("pid 66" in line and "ghost" in line for line in lines)
    assert BY_ID["gpu.holders"].inverse(entry(wish, found.before)) is None


async def test_a_free_gpu_is_said_to_be_free() -> None:
    house = _house()
    house.told["look holders"] = {"holders": [], "hidden": 0}
    wish = act("gpu.holders", f"gpu:{GPU}")
    found = await BY_ID["gpu.holders"].preflight(wish, WHO, house)
    assert (await BY_ID["gpu.holders"].run(wish, WHO, found, house, print)).says == "nobody holds GPU 0"


async def test_a_gpu_that_is_not_here_is_refused() -> None:
    with pytest.raises(Refusal, match="there is no GPU 'GPU-2' on this host"):
        await BY_ID["gpu.holders"].preflight(act("gpu.holders", "gpu:GPU-2"), WHO, _house())


async def test_letting_go_says_that_it_blinds_and_who_holds_on_and_is_taken_back() -> None:
    house = _house()
    house.hold(house.spawn(), GPU)
    wish = act("gpu.let_go", "host")
    executor = BY_ID["gpu.let_go"]
    found = await executor.preflight(wish, WHO, house)
    assert "no longer sees the 1 GPUs" in found.effect
    assert "1 other processes hold it" in guards(found)["holders"].says
    result = await executor.run(wish, WHO, found, house, lambda line: None)
    assert result.state is ActState.DONE
    assert house.released
    assert [note["state"] for note in house.notes] == ["begins", "done"]
    assert executor.inverse(entry(wish, found.before)) == ("gpu.resume", {})
    again = await executor.preflight(wish, WHO, house)
    assert "nothing changes" in again.effect
    assert executor.inverse(entry(wish, again.before)) is None
    back = act("gpu.resume", "host")
    found = await BY_ID["gpu.resume"].preflight(back, WHO, house)
    assert (await BY_ID["gpu.resume"].run(back, WHO, found, house, lambda line: None)).state is ActState.DONE
    assert not house.released


async def test_a_driver_that_does_not_let_go_is_failed() -> None:
    house = _house()
    house.hangs = True
    wish = act("gpu.let_go", "host")
    found = await BY_ID["gpu.let_go"].preflight(wish, WHO, house)
    result = await BY_ID["gpu.let_go"].run(wish, WHO, found, house, lambda line: None)
    assert result.state is ActState.FAILED
    settled = await BY_ID["gpu.let_go"].settle(entry(wish, found.before), house)
    assert settled.state is ActState.FAILED
    assert "started anew" in settled.says
    house.told["reasons"] = [{"code": "let_go"}]
    assert (await BY_ID["gpu.let_go"].settle(entry(wish, found.before), house)).state is ActState.DONE
