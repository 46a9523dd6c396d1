"""What a run does next, by its journals alone; and that no order of losses and take-overs does a thing twice."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.wire.actions import ActionFacts, ActState, Mark, RunFacts
from cockpit.runbook import journal
from cockpit.runbook.journal import Known, Told, following, join, newer, standing, step_of, undoable
from cockpit.runbook.machine import Mind, anew, decide, retried
from cockpit.runbook.records import Plan, RunState, StepKind, StepState
from cockpit.runbook.views import SILENT_S, Live, view
from tests.cockpit.runbook.scenes import Place

RUN = "1a2b3c4d"
PLAN = Place().plan("restart-replica")
PAIR = Place().plan("rolling-restart-pool", subject="pool:chat", batch="2", hosts="gpu-a01,gpu-a02")
DRAIN, RESTART, READY = f"{RUN}/2", f"{RUN}/4", f"{RUN}/7"


def entry(key: str, state: ActState = ActState.DONE, **more: object) -> ActionFacts:
    ended = None if state in (ActState.ACCEPTED, ActState.RUNNING) else 50.0
    fields: dict[str, object] = {"run": RUN, "at": 10.0, "ended": ended, "undo": "back", "says": "so it went"}
    return ActionFacts(key, "haproxy.drain", "s", state=state, **{**fields, **more})  # type: ignore[arg-type]


def known(*entries: ActionFacts, **marks: str) -> Known:
    """Marks by step with `_` for `.`: their states."""
    names = {name.removeprefix("s").replace("_", "."): state for name, state in marks.items()}
    return Known({one.key: one for one in entries}, {name: Mark(name, state, "seen") for name, state in names.items()})


def step(name: str, have: Known, mind: Mind = Mind.ON, plan: Plan = PLAN) -> tuple[RunState, list[str]]:
    del name
    nows = standing(plan, have)
    found = decide(plan, nows, mind)
    return found.state, [now.name for now in found.begin]


def test_the_first_step_is_begun_and_nothing_else() -> None:
    assert step("", known()) == (RunState.RUNNING, ["1"])


@pytest.mark.parametrize(
    ("have", "state", "begins"),
    [
        (known(s1="done"), RunState.RUNNING, ["2"]),
        (known(entry(DRAIN, ActState.ACCEPTED), s1="done"), RunState.RUNNING, []),
        (known(entry(DRAIN, ActState.RUNNING), s1="done"), RunState.RUNNING, []),
        (known(entry(DRAIN), s1="done"), RunState.RUNNING, ["3"]),
        (known(entry(DRAIN, ActState.FAILED), s1="done"), RunState.WAITING, []),
        (known(entry(DRAIN, ActState.UNKNOWN), s1="done"), RunState.WAITING, []),
        (known(entry(DRAIN, ActState.UNKNOWN, ended=None), s1="done"), RunState.RUNNING, []),
        (known(entry(DRAIN, ActState.INTERRUPTED), s1="done"), RunState.WAITING, []),
        (known(s1="failed"), RunState.WAITING, []),
        (known(s1="unknown"), RunState.WAITING, []),
        (known(s1="skipped"), RunState.RUNNING, ["2"]),
        (known(s1="done", s2="failed"), RunState.WAITING, []),  # refused: nothing was done, and no entry
        (known(entry(DRAIN), s1="done", s3="done"), RunState.RUNNING, ["4"]),
        (known(entry(DRAIN, undone=f"{RUN}/2/orphan"), s1="done", s3="done"), RunState.WAITING, []),
        (
            known(entry(DRAIN, undone="x/orphan"), entry(RESTART), s1="done", s3="done", s5="done", s6="done"),
            RunState.WAITING, [],
        ),
    ],
)  # fmt: skip
def test_what_comes_next_follows_from_the_journals(have: Known, state: RunState, begins: list[str]) -> None:
    if have.entries.get(RESTART) is not None:  # what only gives back needs no drain
        assert step("", have) == (RunState.RUNNING, ["7"])
        return
    assert step("", have) == (state, begins)


def test_a_retry_has_a_name_of_its_own_once_it_is_written_down() -> None:
    have = known(entry(DRAIN, ActState.FAILED), s1="done")
    nows = standing(PLAN, have)
    assert [now.name for now in retried(PLAN, nows, Mind.ON)] == ["2"]
    assert (following("2"), following("2~2"), following("3.2/undo")) == ("2~2", "2~3", "3.2/undo~2")
    again = Known(have.entries, {**have.marks, "2~2": Mark("2~2", journal.AGAIN)})
    assert step("", again) == (RunState.RUNNING, ["2~2"])
    there = Known({**again.entries, f"{RUN}/2~2": entry(f"{RUN}/2~2")}, again.marks)
    assert step("", there) == (RunState.RUNNING, ["3"])


def test_of_a_batch_one_that_fails_stops_all_and_the_others_end_first() -> None:
    marks = {"s1_1": "done", "s1_2": "done"}
    first, second = f"{RUN}/2.1", f"{RUN}/2.2"
    assert step("", known(**marks), plan=PAIR) == (RunState.RUNNING, ["2.1", "2.2"])
    half = known(entry(first, ActState.FAILED), entry(second, ActState.RUNNING), **marks)
    assert step("", half, plan=PAIR) == (RunState.RUNNING, [])
    both = known(entry(first, ActState.FAILED), entry(second), **marks)
    assert step("", both, plan=PAIR) == (RunState.WAITING, [])
    assert step("", both, Mind.BACK, PAIR) == (RunState.RUNNING, ["2.2/undo"])


def test_rolling_back_goes_from_the_last_to_the_first_and_keeps_what_gives_back() -> None:
    have = known(entry(DRAIN), entry(RESTART, undo=""), s1="done", s3="done", s5="failed")
    assert step("", have, Mind.BACK) == (RunState.RUNNING, ["2/undo"])
    undone = replace(have, entries={**have.entries, f"{RUN}/2/undo": entry(f"{RUN}/2/undo", undoes=DRAIN)})
    end = decide(PLAN, standing(PLAN, undone), Mind.ON)
    assert (end.state, end.end) == (RunState.ROLLED_BACK, True)
    assert end.says == "taken back; what cannot be stays: restart gpu-a01 vllm:8000"
    stuck = replace(have, entries={**have.entries, f"{RUN}/2/undo": entry(f"{RUN}/2/undo", ActState.FAILED)})
    assert step("", stuck) == (RunState.WAITING, [])
    assert [now.name for now in retried(PLAN, standing(PLAN, stuck), Mind.ON)] == ["2/undo"]


def test_what_a_later_step_gave_back_is_not_taken_back() -> None:
    have = known(entry(DRAIN), entry(RESTART, undo=""), entry(READY), s1="done", s3="done", s5="done", s6="done",
                 s8="done", s9="skipped")  # fmt: skip
    assert undoable(standing(PLAN, have)) == frozenset()
    assert decide(PLAN, standing(PLAN, have), Mind.ON).state is RunState.DONE


@pytest.mark.parametrize(
    ("have", "state"),
    [
        (known(), RunState.ABORTED),
        (known(s1="failed"), RunState.FAILED),
        (known(entry(DRAIN, ActState.UNKNOWN), s1="done"), RunState.UNKNOWN),
        (known(entry(DRAIN), s1="done"), RunState.ABORTED),
    ],
)
def test_what_is_given_up_ends_as_what_it_was(have: Known, state: RunState) -> None:
    found = decide(PLAN, standing(PLAN, have), Mind.STOP)
    assert (found.state, found.end) == (state, True)


def test_a_run_that_is_to_stop_says_so_while_a_step_is_under_way() -> None:
    have = known(entry(DRAIN), entry(RESTART, ActState.RUNNING), s1="done", s3="done")
    found = decide(PLAN, standing(PLAN, have), Mind.STOP)
    assert (found.state, found.end, found.says[:17]) == (RunState.RUNNING, False, "stops after step ")


def test_who_takes_over_judges_anew_what_was_seen_before_an_action_that_has_not_begun() -> None:
    assert anew(PLAN, known(entry(DRAIN), s1="done", s3="done")) == {"3"}
    assert anew(PLAN, known(s1="done")) == {"1"}
    assert anew(PLAN, known(entry(DRAIN), entry(RESTART, ActState.RUNNING), s1="done", s3="done")) == frozenset()
    assert anew(PLAN, known(entry(DRAIN), s1="done")) == frozenset()
    have = known(entry(DRAIN), s1="done", s3="done")
    assert [now.name for now in decide(PLAN, standing(PLAN, have, frozenset({"3"})), Mind.ON).begin] == ["3"]


def told(host_id: str, *entries: ActionFacts, marks: tuple[Mark, ...] = (), **more: object) -> Told:
    fields: dict[str, object] = {"leader": "eva#1", "at": 5.0, "heard": 5.0, "marks": marks, **more}
    run = RunFacts(RUN, "restart-replica", PLAN.hash, **fields)  # type: ignore[arg-type]
    return Told(host_id, {one.key: one for one in entries}, run)


def test_an_entry_counts_only_from_the_host_that_it_is_about() -> None:
    forged = entry(RESTART)
    assert join(PLAN, [told("id-lb-01", forged)]).entries == {}
    assert set(join(PLAN, [told("id-gpu-a01", forged)]).entries) == {RESTART}
    other = replace(forged, run="ffffffff")
    assert join(PLAN, [told("id-gpu-a01", other)]).entries == {}


def test_of_two_hosts_that_disagree_the_newer_mark_counts_and_another_plan_does_not() -> None:
    old, new = Mark("1", "failed", "", "", 10.0), Mark("1", "done", "", "", 20.0)
    both = [told("id-lb-01", marks=(old,)), told("id-gpu-a01", marks=(new,))]
    assert join(PLAN, both).marks["1"] is new
    assert join(PLAN, both[:1]).marks["1"] is old
    lie = told("id-lb-01", marks=(new,))
    assert lie.run is not None
    assert join(PLAN, [replace(lie, run=replace(lie.run, plan_hash="0"))]).marks == {}


def test_a_run_is_seen_as_left_alone_once_its_leader_was_silent_for_a_lease() -> None:
    have = join(PLAN, [told("id-gpu-a01", heard=100.0)])

    def at(now: float, live: Live | None = None) -> RunState:
        return view(PLAN, have, lambda key: (), lambda host, wall: wall, now, live).state

    assert at(100.0 + SILENT_S) is RunState.RUNNING
    assert at(101.0 + SILENT_S) is RunState.ORPHANED
    assert at(101.0 + SILENT_S, Live()) is RunState.RUNNING


def test_keys_name_their_steps() -> None:
    assert [step_of(key) for key in ("r/3", "r/3.2~2", "r/3.2/undo~2", "/3/undo")] == ["3", "3.2", "3.2", "3"]


def test_the_further_word_on_an_entry_counts() -> None:
    accepted, done = entry(DRAIN, ActState.ACCEPTED), entry(DRAIN)
    assert newer(done, accepted) is done
    assert newer(accepted, done) is done
    undone = replace(done, undone="x")
    assert newer(undone, done) is undone


# Any order of losses, restarts of agents and take-overs.


class Model:
    """Hosts with ledgers and journals, and consoles that lead by `decide` alone. A request may be lost before or after
    it was taken; a console may die at any moment; what runs may end in any way, or be interrupted by a restart."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.ledger: dict[str, ActionFacts] = {}
        self.marks: dict[str, Mark] = {}
        self.executed: dict[str, int] = {}
        self.mind = Mind.ON
        self.clock = 0.0

    def seen(self) -> Known:
        return Known(dict(self.ledger), dict(self.marks))

    def mark(self, name: str, state: str) -> None:
        self.clock += 1.0
        self.marks[name] = Mark(name, state, "", "", self.clock)

    def act(self, key: str, undoes: str) -> None:
        """An agent takes a key once."""
        if key in self.ledger:
            return
        self.ledger[key] = entry(key, ActState.RUNNING, undoes=undoes, ended=None)
        self.executed[key] = self.executed.get(key, 0) + 1

    def tick(self, loss: str, end: ActState, restart: bool) -> None:
        """One turn of whoever leads now; what he saw may be of before."""
        nows = standing(self.plan, self.seen())
        following = decide(self.plan, nows, self.mind)
        self.orders_hold(following.begin)
        for now in following.begin:
            key = f"{RUN}/{now.name}"
            if loss == "before":
                continue
            if now.step.kind is StepKind.ACTION:
                of = (now.entry.undoes or now.entry.key) if now.back and now.entry is not None else ""
                self.act(key, of)
            else:
                self.mark(now.name, journal.DONE if end is not ActState.FAILED else journal.FAILED)
        for key, one in list(self.ledger.items()):
            if one.ended is None and not restart:
                self.ledger[key] = replace(one, state=end, ended=self.clock)
                if end is ActState.DONE and one.undoes:
                    self.ledger[one.undoes] = replace(self.ledger[one.undoes], undone=key)
            elif one.ended is None and restart and end is ActState.UNKNOWN:
                self.ledger[key] = replace(one, state=ActState.INTERRUPTED, ended=self.clock)

    def orders_hold(self, begins: tuple[journal.Now, ...]) -> None:
        """A step begins only once all before it are over, and of one batch only."""
        groups = {(now.step.group or now.step.n) for now in begins}
        assert len(groups) <= 1
        if not begins or begins[0].back:
            return
        nows = standing(self.plan, self.seen())
        first = next(at for at, now in enumerate(nows) if now.step.n == begins[0].step.n)
        for before in nows[:first]:
            assert before.state in (StepState.DONE, StepState.SKIPPED) or before.step.group == begins[0].step.group

    def decide(self, word: str) -> None:
        """The operator."""
        nows = standing(self.plan, self.seen())
        if word == "again":
            for now in retried(self.plan, nows, Mind.ON):
                self.mark(following(now.name), journal.AGAIN)
        elif word == "back":
            self.mind = Mind.BACK
        elif word == "dies":  # and another console takes over, without any memory
            self.mind = Mind.ON


TURN = st.tuples(
    st.sampled_from(["none", "none", "before", "after"]),
    st.sampled_from([ActState.DONE, ActState.DONE, ActState.DONE, ActState.FAILED, ActState.UNKNOWN]),
    st.booleans(),
    st.sampled_from(["", "", "", "again", "back", "dies"]),
)


@given(st.sampled_from([PLAN, PAIR]), st.lists(TURN, max_size=60))
@settings(max_examples=80, deadline=None)
def test_no_order_of_losses_restarts_and_take_overs_does_a_thing_twice(
    plan: Plan, turns: list[tuple[str, ActState, bool, str]]
) -> None:
    model = Model(plan)
    for loss, end, restart, word in turns:
        model.tick(loss, end, restart)
        model.decide(word)
    assert all(count == 1 for count in model.executed.values())
    done: dict[str, int] = {}
    for key, one in model.ledger.items():
        if one.state is ActState.DONE and not one.undoes:
            done[step_of(key)] = done.get(step_of(key), 0) + 1
    assert all(count == 1 for count in done.values()), done
    undone: Mapping[str, int] = {}
    for one in model.ledger.values():
        if one.state is ActState.DONE and one.undoes:
            undone = {**undone, one.undoes: undone.get(one.undoes, 0) + 1}
    assert all(count == 1 for count in undone.values()), undone


@given(st.lists(TURN, max_size=25))
@settings(max_examples=25, deadline=None)
def test_whatever_happened_an_operator_gets_it_to_an_end(turns: list[tuple[str, ActState, bool, str]]) -> None:
    model = Model(PLAN)
    for loss, end, restart, word in turns:
        model.tick(loss, end, restart)
        model.decide(word)
    for _ in range(80):
        model.decide("again")
        model.tick("none", ActState.DONE, restart=False)
        if decide(PLAN, standing(PLAN, model.seen()), model.mind).end:
            break
    assert decide(PLAN, standing(PLAN, model.seen()), model.mind).state in (RunState.DONE, RunState.ROLLED_BACK)
