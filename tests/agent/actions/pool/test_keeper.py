"""Keepers of a pool: whatever two consoles do, whatever is lost on the way, however often keepers are started anew, no
more replicas are out than the floor allows."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.actions.pool.keeper import Kept, Pool, current, judge
from agent.actions.pool.voting import Voting
from agent.clock import Instant
from agent.errors import Refusal
from agent.recorder import Recorder
from agent.wire.actions import Claim, Claimed, Wanted
from tests.fakes.clock import FakeClock

POOL = Pool("chat", ("k1", "k2", "k3"), 2)
NOW = Instant(1_000_000.0, 500.0)
LOCK_S, OUT_S = 10.0, 600.0


def claim(what: Wanted, run: str = "r1", **more: object) -> Claim:
    more = {"author": run, "for_s": LOCK_S if what is Wanted.LOCK else OUT_S, "ready": 3, **more}
    return Claim(1, "chat", run, what, **more)  # type: ignore[arg-type]


def later(seconds: float) -> Instant:
    return Instant(NOW.wall + seconds, NOW.mono + seconds)


def test_a_vote_for_one_run_is_no_vote_for_another_until_it_is_given_back_or_over() -> None:
    kept, answer = judge(Kept(), claim(Wanted.LOCK), POOL, "b", NOW)
    assert (answer.granted, answer.until, answer.keepers, answer.floor) == (True, NOW.wall + 10, POOL.keepers, 2)
    _, no = judge(kept, claim(Wanted.LOCK, "r2"), POOL, "b", later(9))
    assert (no.granted, "run r1 of r1" in no.says) == (False, True)
    assert judge(kept, claim(Wanted.LOCK, "r2"), POOL, "b", later(10))[1].granted
    kept, _ = judge(kept, claim(Wanted.UNLOCK, "r2"), POOL, "b", NOW)
    assert not judge(kept, claim(Wanted.LOCK, "r2"), POOL, "b", NOW)[1].granted, "a lock of somebody else stays"
    kept, _ = judge(kept, claim(Wanted.UNLOCK), POOL, "b", NOW)
    assert judge(kept, claim(Wanted.LOCK, "r2"), POOL, "b", NOW)[1].granted


def test_out_needs_the_lock_of_its_own_run_and_somebody_to_spare() -> None:
    assert "lock it first" in judge(Kept(), claim(Wanted.OUT, replica="h/a"), POOL, "b", NOW)[1].says
    kept, _ = judge(Kept(), claim(Wanted.LOCK), POOL, "b", NOW)
    assert "none can be spared" in judge(kept, claim(Wanted.OUT, replica="h/a", ready=2), POOL, "b", NOW)[1].says
    assert "the floor is 5" in judge(kept, claim(Wanted.OUT, replica="h/a", floor=5), POOL, "b", NOW)[1].says
    assert not judge(kept, claim(Wanted.OUT, "r2", replica="h/a"), POOL, "b", NOW)[1].granted
    assert not judge(kept, claim(Wanted.OUT, replica="h/a"), POOL, "b", later(11))[1].granted, "the lock is over"
    kept, answer = judge(kept, claim(Wanted.OUT, replica="h/a"), POOL, "b", NOW)
    assert [(out.replica, out.run) for out in answer.outs] == [("h/a", "r1")]
    kept, answer = judge(kept, claim(Wanted.BACK, "r2", replica="h/a"), POOL, "b", NOW)
    assert len(answer.outs) == 1, "nobody brings back what another run has out"
    assert judge(kept, claim(Wanted.BACK, replica="h/a"), POOL, "b", NOW)[1].outs == ()


@pytest.mark.parametrize("for_s", [0.0, 61.0])
def test_nobody_locks_for_ever(for_s: float) -> None:
    assert not judge(Kept(), claim(Wanted.LOCK, for_s=for_s), POOL, "b", NOW)[1].granted


def test_after_a_reboot_what_was_held_is_held_for_its_whole_length_again_whatever_the_wall_clock_says() -> None:
    kept, _ = judge(Kept(), claim(Wanted.LOCK), POOL, "b", NOW)
    kept, _ = judge(kept, claim(Wanted.OUT, replica="h/a"), POOL, "b", NOW)
    after = current(kept, "b2", Instant(NOW.wall + 1e6, 3.0))
    assert after.lock is not None
    assert (after.lock.mono, dict(after.outs)["h/a"].mono) == (13.0, 603.0)
    assert current(after, "b2", Instant(0.0, 12.9)).lock is not None
    assert current(after, "b2", Instant(0.0, 13.1)).lock is None


# Two consoles, five replicas, three keepers, and everything that can go wrong between them.

REPLICAS = tuple(f"h/{name}" for name in "abcde")
FLOOR = 3


@dataclass
class Console:
    """What a console does, one message at a time: lock everywhere, count, out everywhere, unlock, drain, undrain."""

    run: str
    replica: str
    stage: str = "lock"
    asked: set[int] = field(default_factory=set)
    votes: set[int] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    ready: int = 0
    until: float = 0.0

    def turn(self, stage: str) -> None:
        self.stage, self.asked, self.votes = stage, set(), set()


@dataclass
class Model:
    """`out` is the truth: who is drained. A ready replica is one that is not."""

    consoles: tuple[Console, Console]
    kept: list[Kept] = field(default_factory=lambda: [Kept(), Kept(), Kept()])
    boots: list[int] = field(default_factory=lambda: [0, 0, 0])
    started: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    at: float = 0.0
    out: dict[str, str] = field(default_factory=dict)
    forgets: bool = False  # a keeper that is broken

    def ask(self, console: Console, keeper: int, what: Wanted, *, arrives: bool, returns: bool) -> Claimed | None:
        """One request and its answer, either of which may be lost."""
        if not arrives:
            return None
        wish = claim(what, console.run, replica=console.replica, ready=console.ready)
        mono = self.at - self.started[keeper]
        boot = f"{keeper}-{self.boots[keeper]}"
        self.kept[keeper], answer = judge(self.kept[keeper], wish, replace(POOL, floor=FLOOR), boot, Instant(0.0, mono))
        return answer if returns else None

    def step(self, number: int, keeper: int, *, arrives: bool, returns: bool) -> None:
        console = self.consoles[number]
        if console.stage in ("lock", "out"):
            self._vote(console, keeper, arrives=arrives, returns=returns)
        elif console.stage == "unlock":
            self.ask(console, keeper, Wanted.UNLOCK, arrives=arrives, returns=returns)
            console.turn("drain")
        elif console.stage == "drain":
            if self.at < console.until:
                self.out[console.replica] = console.run
                console.turn("drained")
            else:
                console.turn("lock")
        elif console.stage == "drained":
            self.out.pop(console.replica, None)
            console.turn("back")
        else:
            self.ask(console, keeper, Wanted.BACK, arrives=arrives, returns=returns)
            console.turn("lock")

    def _vote(self, console: Console, keeper: int, *, arrives: bool, returns: bool) -> None:
        what = Wanted.LOCK if console.stage == "lock" else Wanted.OUT
        if console.stage == "lock" and not console.asked:
            console.seen = set()
        if console.stage == "out" and not console.asked:
            console.until = self.at + OUT_S
        console.asked.add(keeper)
        answer = self.ask(console, keeper, what, arrives=arrives, returns=returns)
        if answer is not None and answer.granted:
            console.votes.add(keeper)
            console.seen |= {out.replica for out in answer.outs}
        if len(console.votes) < 2:
            if len(console.asked) == 3:
                console.turn("lock")
            return
        if console.stage == "out":
            console.turn("unlock")
            return
        others = console.seen - {console.replica}
        console.ready = len([one for one in REPLICAS if one not in self.out and one not in others])
        console.turn("out" if console.ready > FLOOR else "lock")

    def restart(self, keeper: int, *, reboot: bool) -> None:
        """What was answered is on disk; the clock of another boot begins anew."""
        if reboot:
            self.boots[keeper] += 1
            self.started[keeper] = self.at - 1.0
        if self.forgets:
            self.kept[keeper] = Kept()
        self.kept[keeper] = current(self.kept[keeper], f"{keeper}-{self.boots[keeper]}", Instant(0.0, self.at))


STEP = st.tuples(st.integers(0, 1), st.integers(0, 2), st.booleans(), st.booleans())
PAUSE = st.sampled_from([0.1, 5.0, LOCK_S - 0.1, LOCK_S + 0.1, OUT_S / 2])
RESTART = st.tuples(st.integers(0, 2), st.booleans())


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(STEP, STEP, STEP, STEP, PAUSE, RESTART), max_size=80))
def test_no_interleaving_lets_more_out_than_the_floor_allows(
    happens: list[tuple[int, int, bool, bool] | float | tuple[int, bool]],
) -> None:
    model = Model((Console("r1", "h/a"), Console("r2", "h/b")))
    model.out["h/c"] = "long ago"  # floor 3 of 5, one is out already: one more may go
    for one in happens:
        if isinstance(one, float):
            model.at += one
        elif len(one) == 2:
            keeper, reboot = one
            model.restart(keeper, reboot=reboot)
        else:
            number, keeper, arrives, returns = one
            model.step(number, keeper, arrives=arrives, returns=returns)
        assert len(REPLICAS) - len(model.out) >= FLOOR


@pytest.mark.parametrize("forgets", [False, True])
def test_the_model_tells_a_keeper_that_remembers_from_one_that_forgets(*, forgets: bool) -> None:
    model = Model((Console("r1", "h/a"), Console("r2", "h/b")), forgets=forgets)
    model.out["h/c"] = "long ago"

    def go(number: int, *keepers: int) -> None:
        for keeper in keepers:
            model.step(number, keeper, arrives=True, returns=True)

    go(0, 0, 1, 0, 1, 0)
    assert model.consoles[0].stage == "drain", "everything went well, it may drain and has not yet"
    for keeper in (0, 1):
        model.restart(keeper, reboot=False)
    model.at += LOCK_S
    go(1, 0, 1, 0, 1, 0, 0)
    go(0, 0)
    assert ("h/a" in model.out, "h/b" in model.out) == (True, forgets)


async def test_a_keeper_remembers_over_a_restart_and_votes_only_for_what_is_on_disk(tmp_path: Path) -> None:
    clock = FakeClock()
    pools = {"chat": replace(POOL, keepers=("gpu-a01", "x"))}

    async def voting(wish: Claim, directory: Path | None = tmp_path) -> Claimed:
        recorder = Recorder(directory, clock, "b") if directory else Recorder.ephemeral(clock, "b")
        keeper = Voting(recorder, clock, "b", ("h1", "gpu-a01"), pools)
        recorder.start()
        keeper.start()
        try:
            return await keeper.vote(wish)
        finally:
            await recorder.close()

    assert (await voting(claim(Wanted.LOCK))).granted
    assert not (await voting(claim(Wanted.LOCK, "r2"))).granted
    assert (await voting(claim(Wanted.OUT, replica="h/a"))).granted
    assert (await voting(claim(Wanted.UNLOCK))).granted
    taken = await voting(claim(Wanted.LOCK, "r2"))
    assert [(taken.granted, out.replica) for out in taken.outs] == [(True, "h/a")]
    no = await voting(claim(Wanted.LOCK), None)
    assert (no.granted, no.says) == (False, "the journal of this keeper cannot be written now: it votes for nobody")
    with pytest.raises(Refusal, match=r"no \[pools.else\]"):
        await voting(replace(claim(Wanted.LOCK), pool="else"))
    pools["chat"] = POOL
    with pytest.raises(Refusal, match="its keepers are k1, k2, k3"):
        await voting(claim(Wanted.LOCK))
