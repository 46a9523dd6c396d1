"""How executors talk to the root helper: exact commands, and never a guess about a helper that is not there."""

from typing import Any

import pytest

from agent.actions import asking
from agent.actions.base import Reply, RootAbsent
from agent.errors import Refusal
from tests.agent.actions.executors.house import WHO, House, act

WISH = act("systemd.stop", "unit:x.service")


class Answering(House):
    """A helper that answers one thing."""

    reply = Reply("done")

    async def ask(self, request: Any, said: Any = None, deadline_s: float = 5.0) -> Reply:
        self.asked.append(request)
        if self.absent:
            raise RootAbsent(self.absent)
        return self.reply


async def test_commands_are_as_a_shell_would_take_them_and_remarks_stay_remarks() -> None:
    house = Answering()
    argv = [["kill", "-TERM", "7"], ["docker", "stop", "a b"], ["systemctl", "kill", "--", "x", "# after 60 s, if"]]
    house.reply = Reply("done", data={"allowed": True, "role": "admin", "rule": "[[allow]] 1", "argv": argv})
    plan = await asking.planned(WISH, WHO, house, {"unit": "x.service"})
    assert plan.commands == ("kill -TERM 7", "docker stop 'a b'", "systemctl kill -- x  # after 60 s, if")
    assert plan.role == "admin"
    assert plan.guards[0].says == "allowed by [[allow]] 1"


@pytest.mark.parametrize("reply", [Reply("refused", "not understood", 400), Reply("failed", "no"), Reply("done")])
async def test_whatever_is_no_yes_allows_nothing(reply: Reply) -> None:
    house = Answering()
    house.reply = reply
    plan = await asking.planned(WISH, WHO, house, {})
    assert plan.role == ""
    assert plan.guards[0].id == "policy"
    assert plan.guards[0].ok is (reply.end == "done" and reply.data.get("allowed") is True)


async def test_a_helper_that_is_not_there_is_a_guard_that_says_so() -> None:
    house = Answering()
    house.absent = "no root helper listens"
    plan = await asking.planned(WISH, WHO, house, {})
    assert plan.guards == (plan.guards[0],)
    assert plan.guards[0].says == "nobody here can do it: no root helper listens"


@pytest.mark.parametrize(
    ("code", "word"), [(403, "denied"), (409, "gone"), (423, "busy"), (424, "missing"), (400, "invalid")]
)
async def test_each_refusal_has_its_word(code: int, word: str) -> None:
    house = Answering()
    house.reply = Reply("refused", "because", code)
    with pytest.raises(Refusal, match="because") as refused:
        await asking.acted(WISH, WHO, house, {}, lambda line: None, 1.0)
    assert refused.value.code == word


async def test_an_end_that_nobody_knows_is_lost_and_no_refusal() -> None:
    house = Answering()
    house.reply = Reply("unknown", "it began")
    with pytest.raises(asking.Lost, match="it began"):
        await asking.acted(WISH, WHO, house, {}, lambda line: None, 1.0)


async def test_after_a_lost_answer_the_helper_is_waited_for_and_not_for_ever() -> None:
    house = Answering()
    house.absent = "it starts"
    await asking.back(house)
    assert house.clock.real() == pytest.approx(50.0 + asking.BACK_S)
    house.absent = ""
    await asking.back(house)
    assert house.clock.real() == pytest.approx(50.0 + asking.BACK_S)


@pytest.mark.parametrize(
    ("reply", "fate"),
    [
        (Reply("done", data={"state": "none"}), "none"),
        (Reply("failed", "no such", 404), "none"),
        (Reply("done", data={"state": "ended", "says": "x"}), "ended"),
        (Reply("done", data={"state": "begun", "running": True}), "running"),
        (Reply("done", data={"state": "begun", "running": False}), "lost"),
        (Reply("failed", "the audit cannot be read", 507), "lost"),
    ],
)
async def test_the_fate_of_a_key_is_one_of_four_words(reply: Reply, fate: str) -> None:
    house = Answering()
    house.reply = reply
    assert (await asking.fate("k", house))[0] == fate
