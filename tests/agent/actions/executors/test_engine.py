"""engine.pause and engine.resume: the engine's own call, and what its pages show afterwards, never its 200 alone."""

import re
from typing import Any

import pytest

from agent.actions.registry import BY_ID
from agent.errors import Refusal
from agent.wire.actions import ActState
from tests.agent.actions.executors.house import BOOT, WHO, House, act, entry, guards

SUBJECT = "replica:r:8000"


def _house(engine: str = "vllm", **facts: Any) -> House:
    house = House()
    pid = house.spawn()
    known = {"url": "http://127.0.0.1:8000", "state": "ready", "phase": "serving", "pids": (pid,), "models": ("m",)}
    house.serve("r:8000", engine=engine, **{**known, **facts})
    return house


async def _run(house: House, action: str, **params: str) -> Any:
    wish = act(action, SUBJECT, params=params)
    found = await BY_ID[action].preflight(wish, WHO, house)
    return await BY_ID[action].run(wish, WHO, found, house, lambda line: None)


@pytest.mark.parametrize(
    ("engine", "params", "command", "effect"),
    [
        ("vllm", {}, "POST http://127.0.0.1:8000/pause?mode=wait", "requests in flight end first"),
        ("vllm", {"mode": "keep"}, "POST http://127.0.0.1:8000/pause?mode=keep", "frozen where they are"),
        (
            "sglang",
            {"mode": "keep"},
            'POST http://127.0.0.1:8000/pause_generation {"mode": "in_place"}',
            "its health page fails after 20 s",
        ),
        ("triton", {}, "POST http://127.0.0.1:8000/v2/repository/models/m/unload", "new requests for m are refused"),
    ],
)
async def test_the_plan_is_the_exact_call(engine: str, params: dict[str, str], command: str, effect: str) -> None:
    house = _house(engine)
    found = await BY_ID["engine.pause"].preflight(act("engine.pause", SUBJECT, params=params), WHO, house)
    assert found.commands == (command,)
    assert effect in found.effect
    assert found.undo == "resume the engine"
    assert found.expect["boot"] == BOOT
    assert found.role == "operator"
    assert guards(found)["policy"].ok
    assert not house.posts


@pytest.mark.parametrize(
    ("engine", "facts", "params", "says"),
    [
        ("sglang", {}, {}, "SGLang cannot wait"),
        ("triton", {}, {"mode": "abort"}, "take mode wait"),
        ("triton", {"models": ("a", "b")}, {}, "it has a, b; say which"),
        ("triton", {}, {"model": "../etc"}, "is not the name of a model"),
        ("triton", {}, {"model": "a/unload?x"}, "is not the name of a model"),
        ("vllm", {"carrier": "dynamo-worker"}, {}, "runs inside dynamo-worker"),
        ("llamacpp", {}, {}, "no call that pauses it: take it out at its load balancer"),
        ("ray-serve", {}, {}, "lower num_replicas"),
        ("", {}, {}, "this engine has no call"),
        ("vllm", {"pids": (), "url": ""}, {}, "there is nobody to ask"),
        ("vllm", {}, {"mode": "freeze"}, "it takes wait, keep, abort"),
    ],
)
async def test_what_an_engine_has_not_is_refused_with_what_to_do_instead(
    engine: str, facts: dict[str, Any], params: dict[str, str], says: str
) -> None:
    with pytest.raises(Refusal, match=re.escape(says)):
        await BY_ID["engine.pause"].preflight(act("engine.pause", SUBJECT, params=params), WHO, _house(engine, **facts))


async def test_a_pause_is_done_when_its_pages_show_it_and_is_on_the_record() -> None:
    house = _house()
    house.answers["/pause?mode=wait"] = (200, "{}")
    house.later(8.0, lambda: house.serve("r:8000", engine="vllm", phase="paused", state="unready"))
    result = await _run(house, "engine.pause")
    assert result.state is ActState.DONE
    assert house.posts == [("r:8000", "/pause?mode=wait", b"")]
    assert [note["state"] for note in house.notes] == ["begins", "done"]
    assert house.clock.real() >= 58.0


async def test_an_engine_that_says_so_and_does_not_is_failed() -> None:
    house = _house()
    house.answers["/pause?mode=wait"] = (200, "{}")
    result = await _run(house, "engine.pause")
    assert result.state is ActState.FAILED
    assert "its pages still show serving" in result.says


@pytest.mark.parametrize(
    ("answer", "state", "says"),
    [
        ((404, ""), ActState.FAILED, "VLLM_SERVER_DEV_MODE=1"),
        ((500, "boom"), ActState.FAILED, "answered 500: boom"),
        (TimeoutError(), ActState.UNKNOWN, "engine.resume takes a pause back"),
        (ConnectionRefusedError("nobody listens"), ActState.FAILED, "was not asked"),
        (ConnectionError("it hung up"), ActState.UNKNOWN, "hung up"),
    ],
)
async def test_done_failed_and_unknown_are_never_mixed_up(answer: Any, state: ActState, says: str) -> None:
    house = _house()
    house.answers["/pause?mode=wait"] = answer
    result = await _run(house, "engine.pause")
    assert result.state is state
    assert says in result.says
    assert house.notes[-1]["state"] == state.value


async def test_an_answer_that_never_came_is_done_if_its_pages_show_it() -> None:
    house = _house()
    house.answers["/pause?mode=wait"] = TimeoutError()
    house.later(5.0, lambda: house.serve("r:8000", engine="vllm", phase="paused", state="unready"))
    assert (await _run(house, "engine.pause")).state is ActState.DONE


async def test_what_cannot_be_written_into_the_audit_is_not_begun() -> None:
    house = _house()
    wish = act("engine.pause", SUBJECT)
    found = await BY_ID["engine.pause"].preflight(wish, WHO, house)
    house.absent = "no root helper listens"
    with pytest.raises(Refusal, match="could not be written into the audit"):
        await BY_ID["engine.pause"].run(wish, WHO, found, house, lambda line: None)
    assert not house.posts


async def test_a_model_is_unloaded_loaded_again_and_known_by_name_meanwhile() -> None:
    house = _house("triton", models=("m",))
    house.answers["/v2/repository/models/m/unload"] = (200, "")
    house.answers["/v2/repository/models/m/load"] = (200, "")
    wish = act("engine.pause", SUBJECT)
    found = await BY_ID["engine.pause"].preflight(wish, WHO, house)
    house.serve("r:8000", engine="triton", models=("m",), pids=(1,), state="draining", phase="draining")
    assert (await BY_ID["engine.pause"].run(wish, WHO, found, house, lambda line: None)).state is ActState.DONE
    assert BY_ID["engine.pause"].inverse(entry(wish, found.before)) == ("engine.resume", {"model": "m"})
    house.later(20.0, lambda: house.serve("r:8000", engine="triton", models=("m",), pids=(1,), state="ready"))
    assert (await _run(house, "engine.resume", model="m")).state is ActState.DONE
    assert house.posts[-1][1] == "/v2/repository/models/m/load"


async def test_what_changes_nothing_is_not_taken_back() -> None:
    house = _house(phase="paused", state="unready")
    wish = act("engine.pause", SUBJECT)
    found = await BY_ID["engine.pause"].preflight(wish, WHO, house)
    assert "paused already" in found.effect
    assert found.undo == ""
    assert BY_ID["engine.pause"].inverse(entry(wish, found.before)) is None
    wish = act("engine.resume", SUBJECT)
    found = await BY_ID["engine.resume"].preflight(wish, WHO, house)
    assert BY_ID["engine.resume"].inverse(entry(wish, found.before)) == ("engine.pause", {})


async def test_after_a_crash_its_pages_tell() -> None:
    house = _house()
    wish = act("engine.pause", SUBJECT)
    before = (await BY_ID["engine.pause"].preflight(wish, WHO, house)).before
    assert (await BY_ID["engine.pause"].settle(entry(wish, before), house)).state is ActState.UNKNOWN
    house.serve("r:8000", engine="vllm", phase="paused", state="unready")
    assert (await BY_ID["engine.pause"].settle(entry(wish, before), house)).state is ActState.DONE
    house.told["replicas"] = []
    assert (await BY_ID["engine.pause"].settle(entry(wish, before), house)).state is ActState.UNKNOWN
