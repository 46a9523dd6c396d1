"""Whatever a subject, a parameter or the facts say: what reaches the root helper or an engine is a name, a number or
one of few words, and never an option, a path or a second command."""

import asyncio
import re
import string
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.actions.base import Reply
from agent.actions.registry import ACTIONS
from agent.errors import Refusal
from tests.agent.actions.executors.house import WHO, House, act

NASTY = st.sampled_from(
    ["-rf", "--help", "a b", "$(id)", "`id`", "a;b", "a\nb", "../../etc", "/etc/passwd", "\x00", "-1", "1 2", "é", "@"]
)
TEXT = st.one_of(NASTY, st.text(alphabet=string.printable, max_size=40), st.text(max_size=12))
KIND = st.sampled_from(["host", "gpu", "replica", "process", "unit", "container", "backend", "", "x"])
UNIT = re.compile(r"[A-Za-z0-9:_.\\@][A-Za-z0-9:_.\\@-]*\.service")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
SHAPES = {
    "unit": re.compile(rf"(?:{UNIT.pattern})?"),
    "container": re.compile(rf"(?:{NAME.pattern})?"),
    "runtime": re.compile(r"(?:docker|podman)?"),
    "pid": re.compile(r"\d{1,10}"),
    "grace_s": re.compile(r"\d+(\.\d+)?"),
    "deadline_s": re.compile(r"\d+(\.\d+)?"),
    "minor": re.compile(r"-1|\d+"),
}
OURS = tuple(action for action in ACTIONS if action.spec.id.split(".")[0] not in ("haproxy", "diagnostics"))


class Listening(House):
    """A host on which everything is there, and that remembers what it was asked."""

    async def ask(self, request: Any, said: Any = None, deadline_s: float = 5.0) -> Reply:
        self.asked.append(request)
        for name, shape in SHAPES.items():
            for where in (request, request.get("args", {})):
                if name in where:
                    assert shape.fullmatch(str(where[name])), (name, where[name])
        if request["verb"] == "look" and request["what"] == "container":
            return Reply("done", data={"id": "c" * 64, "name": "v-0", "runtime": "docker", "running": True})
        if request["verb"] == "look" and request["what"] == "unit":
            return Reply("done", data={"LoadState": "loaded", "ActiveState": "active", "CanReload": "yes"})
        if request["verb"] == "look" and request["what"] == "process":
            return Reply("done", data={"pid": request["pid"], "started": "7", "state": "S", "comm": "x", "gpus": ["g"]})
        return await super().ask(request, said, deadline_s)


@settings(max_examples=150, deadline=None)
@given(
    action=st.sampled_from(OURS), kind=KIND, name=TEXT, params=st.dictionaries(TEXT, TEXT, max_size=2), fact=TEXT,
    known=st.sampled_from(["mode", "model", "deadline_s", "grace_s", "health_s"]), value=TEXT,
)  # fmt: skip
def test_nothing_but_names_and_numbers_leaves_an_executor(
    action: Any, kind: str, name: str, params: dict[str, str], fact: str, known: str, value: str
) -> None:
    house = Listening()
    house.told["gpus"] = {name: {"minor": 0, "index": 0}}
    row = {"id": name, "engine": "triton", "unit": fact, "container": fact, "pids": [7], "models": [fact]}
    house.told["replicas"] = [{**row, "url": "http://127.0.0.1:8000"}]
    declared = {param.name for param in action.spec.params}
    wanted = {**params, **({known: value} if known in declared else {})}

    async def live() -> None:
        wish = act(action.spec.id, f"{kind}:{name}", params=wanted)
        try:
            found = await action.preflight(wish, WHO, house)
        except Refusal:
            return
        for command in found.commands:
            assert "POST" not in command or re.fullmatch(
                r"POST http://127\.0\.0\.1:8000/[A-Za-z0-9_.?=/-]+( .*)?", command
            )

    asyncio.run(live())
