"""One replica: its rounds of questions, and what each round makes of it. Sans-I/O: answers are handed in.

Nothing is asked of it but its engine's own read-only pages. What it cannot say stays unsaid.
"""

import math
from dataclasses import replace
from typing import Any

from agent.clock import Instant
from agent.config.serving import Serving
from agent.engines.answer import Answer, Ask, Failure
from agent.engines.pages import Pages
from agent.engines.sample import ReplicaSample
from agent.engines.standing import Judge, Look, Process, Standing
from agent.sources.base import RawEvent
from agent.sources.serving import match, trouble
from agent.sources.serving.client import Endpoint
from agent.sources.serving.doors import Doors
from agent.sources.serving.errand import PERIOD_S, SLACK_S, Pace, place
from agent.sources.serving.landscape import Group, Listener
from agent.sources.serving.row import Row, quality_of
from agent.sources.serving.who import Who
from agent.sources.serving.window import Latencies
from agent.wire.replicas import Phase, ReplicaFacts, State, replica_subject
from agent.wire.shape import pack
from agent.wire.signals import Quality

STARTED_SLACK_S = 1.0
MINUTE_S = 60.0
ABSENT_S = 600.0  # a page that this engine does not have: each question is a line in somebody's log of accesses
NO_PORT = "opens no port that can be asked how it is: a Dynamo worker does with DYN_SYSTEM_PORT"
_ODD = (Failure.TLS, Failure.DENIED, Failure.GARBAGE, Failure.TOO_LARGE)  # its state does not say it all
_DEAF = (Failure.TIMEOUT, Failure.UNREACHABLE, Failure.DENIED, Failure.TLS)  # the other pages would fare no better


class Replica:
    """`group` is None while nobody sees its processes. `news` says that it is to be settled at once."""

    def __init__(self, who: Who, group: Group | None, table: Serving | None = None) -> None:
        self.who = who
        self.name = f"replica:{who.id}"
        self.pace = Pace(place(who.id))
        self.group = group
        self.table = table
        self.listener: Listener | None = None
        self.row = Row()
        self.facts = ReplicaFacts(who.id)
        self.packed: dict[str, Any] = {}
        self.news = True
        self.hears = False  # a round ended and is to be settled
        self.taken_by = ""  # who has its port now that it is gone
        self.token_trouble = ""
        self.page_trouble = ""
        self.latencies = Latencies()
        self._doors = Doors(who.engine)
        self._pages = Pages()
        self._judge = Judge(who.engine.name, *([table.load_budget_s] if table and table.load_budget_s else []))
        self._last: Group | None = group
        self._started: float | None = None
        self._queue: list[Ask] = []
        self._asked: dict[str, float] = {}
        self._answers: dict[str, Answer] = {}
        self._now = Instant(0.0, 0.0)
        self._sample: ReplicaSample | None = None
        self._seen: float | None = None
        self._stood = False
        self._left_as: tuple[str, float] | None = None
        self.drain_asked = False  # we took it out of service
        self.started_by_us = (math.inf, -math.inf)  # from when to when an action last started it, wall seconds
        self._floods: set[str] = set()  # pages that were too large the last time
        if group is not None:
            self.join(group)

    # Who it is made of.

    def join(self, group: Group) -> None:
        """Its processes and sockets as they are now."""
        root, before = group.root, self.group
        if before is None or before.key != group.key:
            self._answers = {}
            self._asked = {}
            self.news = True
            self.pace.hurry()
        if root is not None and root.started is not None:
            self._begin(root.started)
        self.group = self._last = group
        self.taken_by = ""
        self.listener = next((one for one in group.listeners if one.port == self.who.port), None)
        self.news = self.news or (before is not None and before.missing != group.missing)

    def leave(self) -> None:
        """Its processes are gone."""
        self.group = self.listener = None
        self._answers = {}
        self._queue = []
        self.news = True

    def is_of(self, group: Group) -> bool:
        """Whether this group's root is the process it was last seen with, as an earlier start remembered it."""
        root = group.root
        if root is None or root.started is None or self.facts.started is None or not self.facts.pids:
            return False
        return root.pid == self.facts.pids[0] and abs(root.started - self.facts.started) < STARTED_SLACK_S

    @property
    def seen(self) -> float | None:
        """When it last answered, wall seconds; None if it never did."""
        return self._seen

    @property
    def awaited(self) -> dict[str, Any]:
        """Its facts while it is not known whether it is still there."""
        unknown = State.UNKNOWN.word
        return {**self.packed, "state": unknown, "phase": unknown, "says": "the agent has just begun to look for it"}

    @property
    def apart(self) -> str:
        """Why nothing of it can be asked, whatever it does; "" if it can, or will be."""
        if self.group is None or self.listener is not None:
            return ""
        return self.group.apart or ("" if self.who.port else NO_PORT)

    # Its rounds.

    @property
    def door(self) -> Endpoint | None:
        """Where it serves, with the token of its table if that is owed to whoever listens there; None while nobody
        does."""
        return self._endpoint(self.listener) if self.listener is not None and self.group is not None else None

    def begin(self, now: Instant) -> None:
        """A round: the pages whose turn it is."""
        self._now = now
        self._answers = {}
        self.pace.period_s = PERIOD_S
        self._queue = [ask for ask in self.who.engine.asks if self._is_due(ask, now.mono)] if self.listener else []

    def next(self) -> tuple[Endpoint, Ask] | None:
        """The next page to ask for; None when the round is over."""
        while self._queue and self.listener is not None and self.group is not None:
            ask = self._queue.pop(0)
            found = self._doors.listener(ask.door, self.group, self.listener)
            if found is not None:
                return self._endpoint(found), ask
            if ask.door:
                self._pages.take(ask.path, Answer(failure=Failure.REFUSED, says=f"no {ask.door} port is known of it"))
        self.hears = True
        return None

    def take(self, ask: Ask, answer: Answer) -> None:
        """What came of it."""
        answer = self._doors.heard(ask.door, answer)
        self._answers[ask.path] = answer
        self._asked[ask.path] = self._now.mono
        self._pages.take(ask.path, answer)
        self._weigh(ask, answer)
        if answer.failure is Failure.REFUSED:
            self._queue = [other for other in self._queue if other.door != ask.door]
        elif answer.failure in _DEAF:
            self._queue.clear()

    def settle(self, now: Instant, *, listens: bool) -> RawEvent | None:
        """Judge it; the event if its state changed. `listens`: somebody accepts connections on its port."""
        self.hears = self.news = False
        sample, metrics = self._read(now)
        standing = self._judge.hear(self._look(now, sample, metrics, listens=listens))
        took = max((answer.took_s for answer in self._answers.values()), default=None)
        began = self._started if self.group is not None else None
        self.row.stand(standing, took, None if began is None else max(0.0, now.wall - began))
        if sample is None or standing.state is State.DOWN:
            self.row.miss(quality_of(metrics, standing))
        before, now_told = self.facts, self._told(standing)
        if now_told != before or not self.packed:
            self.facts, self.packed = now_told, pack(now_told)
        event = self._event(now, before, standing) if self._stood and before.state != self.facts.state else None
        self._stood = self._stood or standing.state is not State.UNKNOWN  # what is first learnt of it is no change
        return event

    def break_down(self, error: Exception) -> bool:
        """A defect of ours kept it from being read; whether that is news."""
        self.hears = self.news = False
        before = self.page_trouble
        self.page_trouble = f"its pages could not be read, a defect of the agent ({type(error).__name__}); report it"
        self.packed = self.packed or pack(self.facts)
        self.row.miss(Quality.ERROR)
        return self.page_trouble != before

    # What is remembered.

    def memory(self) -> dict[str, Any]:
        """For the next start. To the minute: a memory that ticks would be written at every tick."""
        seen = None if self._seen is None else self._seen // MINUTE_S * MINUTE_S
        return {"facts": self.packed or pack(self.facts), "record": self.who.engine.name, "seen": seen}

    def recall(self, facts: ReplicaFacts, seen: float | None) -> None:
        """How an earlier start saw it, and when it last answered."""
        self.facts, self.packed = facts, pack(facts)
        self._seen = seen
        self._left_as = (facts.state, facts.since)
        self._started = facts.started
        self._stood = True
        self._judge.resume(facts)

    # Inside.

    def _is_due(self, ask: Ask, mono: float) -> bool:
        last = self._asked.get(ask.path)
        if last is None:
            return True
        known = self._pages.answer(ask.path)
        every_s = ask.every_s
        if known is not None and known.status in trouble.NOT_OFFERED:
            every_s = max(every_s, ABSENT_S if ask.path != self.who.engine.health else 0.0)
        elif known is None or known.failure is not Failure.NONE:
            every_s = 0.0
        return every_s <= 0 or mono - last >= every_s - SLACK_S

    def _endpoint(self, listener: Listener) -> Endpoint:
        assert self.group is not None
        found = match.endpoint(listener, self.table if listener.port == self.who.port else None)
        table = self.table
        if table is None or table.token_file is None or listener.port != self.who.port:
            return found
        self.token_trouble = ""
        try:
            return replace(found, token=match.token(table, self.group, listener), key=listener.key)
        except match.TokenTrouble as error:
            self.token_trouble = str(error)
            return found

    def _weigh(self, ask: Ask, answer: Answer) -> None:
        """What is long is asked for more rarely; what is too long twice, to be sure, and then as rarely as may be."""
        too_large = answer.failure is Failure.TOO_LARGE
        self.pace.weigh(len(answer.body), too_large=too_large and ask.path in self._floods)
        (self._floods.add if too_large else self._floods.discard)(ask.path)

    def _begin(self, started: float) -> None:
        if self._started is not None and abs(started - self._started) > STARTED_SLACK_S:
            self._sample = None
            self._pages = Pages()
        self._started = started

    def _read(self, now: Instant) -> tuple[ReplicaSample | None, Answer | None]:
        """(what its pages say if they say anything, this round's page of progress)."""
        if not any(answer.failure is Failure.NONE for answer in self._answers.values()):
            first = next(iter(self._answers.values()), None)
            self.page_trouble = first.says if first is not None and first.failure in _ODD else ""
            return None, self._answers.get(self.who.engine.metrics)
        sample = self.who.engine.parse(self._pages)
        if sample.capacity is None and self.group is not None:
            sample = replace(sample, capacity=self.who.engine.capacity(self.group.argvs))
        metrics = self._answers.get(self.who.engine.metrics)
        self.page_trouble, readable = trouble.weigh(self.who.engine, metrics, sample, self.table)
        if metrics is not None and not readable:
            metrics = replace(metrics, failure=metrics.failure or Failure.GARBAGE, says=self.page_trouble)
        if not readable:
            return None, metrics
        self._seen = now.wall
        last, self._sample = self._sample, sample
        restarted = last is None or trouble.restarted(last, sample)
        self.latencies.take(now.mono, sample, restarted=restarted and last is not None)
        self.row.take(sample, self.latencies, now.mono)
        if self._started is None or (self.group is not None and not self.group.processes):
            self._started = sample.start_time
        return sample, metrics

    def _look(self, now: Instant, sample: ReplicaSample | None, metrics: Answer | None, *, listens: bool) -> Look:
        engine, group = self.who.engine, self.group
        served = [answer for path, answer in self._answers.items() if not _door_of(engine.asks, path)]
        refused = not self.apart and (not listens or any(answer.failure is Failure.REFUSED for answer in served))
        if group is None:
            process = Process.GONE if self._last is not None and self._last.processes else Process.HIDDEN
            process = Process.GONE if self._last is None and self.facts.pids else process
        else:
            process = Process.ALIVE if group.processes else Process.HIDDEN
        return Look(
            now.mono,
            now.wall,
            process,
            refused,
            metrics,
            self._answers.get(engine.health) if engine.health else None,
            sample,
            self._started,
            group.missing if group is not None else "",
            self.latencies.value("itl", 0.99),
            self.latencies.value("e2e", 0.99),
            slo_burning=sample is not None and self._misses_objective(),
            drain_asked=self.drain_asked,
            asked_for=self._asked_for(),
        )

    def _asked_for(self) -> bool:
        since, until = self.started_by_us
        return self._started is not None and since - STARTED_SLACK_S <= self._started <= until + STARTED_SLACK_S

    def _misses_objective(self) -> bool:
        wanted = self.table.objective if self.table is not None else {}
        values, bad = self.row.values, self.row.bad
        return any(name not in bad and (values[name] or 0.0) > most for name, most in wanted.items())

    def _told(self, standing: Standing) -> ReplicaFacts:
        who, table, sample = self.who, self.table, self._sample
        group = self.group or self._last
        says = standing.says
        if self.apart and standing.state is State.UNKNOWN:
            says = f"it {self.apart}"
        if standing.state is State.DOWN and self.taken_by:
            says = f"{says}; its port now belongs to {self.taken_by}"
        seen = None if standing.state not in (State.DOWN, State.UNKNOWN, State.UNREADY) else self._seen
        known = replace(
            self.facts,
            id=who.id,
            engine=who.name,
            carrier=who.carrier,
            version=(sample.version if sample else "") or who.version or self.facts.version,
            models=(sample.models if sample else ()) or self.facts.models,
            address=self.listener.address if self.listener else who.address or self.facts.address,
            port=who.port,
            url=match.endpoint(self.listener, table).url if self.listener else self.facts.url,
            pool=table.pool if table else "",
            role=table.role if table else "",
            state=standing.state.word,
            phase=standing.phase.word,
            since=self._since(standing),
            says=says,
            started=self._started,
            starts=standing.starts,
            seen=seen,
            tested=who.engine.tested,
            evidence=who.evidence,
            counter=sample.progress_name if sample else self.facts.counter,
            window_s=standing.window_s,
            sure=standing.sure,
            load_budget_s=self._judge.load_budget_s,
            objectives=dict(table.objective) if table else {},
        )
        return known if group is None else replace(known, **_owner(group, self.facts))

    def _since(self, standing: Standing) -> float:
        """When its state began: for one that an earlier start of the agent left in the same state, that moment."""
        if self._left_as is not None and self._left_as[0] == standing.state.word:
            return self._left_as[1]
        self._left_as = None
        return standing.since

    def _event(self, now: Instant, before: ReplicaFacts, standing: Standing) -> RawEvent:
        facts = self.facts
        data = {
            "replica": self.who.id,
            "subject": replica_subject(self.who.id),
            "from": before.state,
            "to": facts.state,
            "phase": facts.phase,
            "says": facts.says,
            "evidence": [dict(item) for item in standing.evidence],
            "pids": list(facts.pids),
            "gpus": list(facts.gpus),
        }
        says = facts.phase if standing.phase in (Phase.SERVING, Phase.IDLE) else facts.says
        return RawEvent("serving", "replica", now, f"{self.who.id} is {facts.state}: {says}", data=data)


def _door_of(asks: tuple[Ask, ...], path: str) -> str:
    return next((ask.door for ask in asks if ask.path == path), "")


def _owner(group: Group, before: ReplicaFacts) -> dict[str, Any]:
    """What its processes say of it. The GPUs of one that is gone are those that it had."""
    holds = group.gpus or group.gpu_map != "none" or not before.gpus
    return {
        "pids": tuple(process.pid for process in group.processes)[:256],
        "gpus": group.gpus[:64] if holds else before.gpus,
        "gpu_map": group.gpu_map if holds else before.gpu_map,
        "user": group.user,
        "unit": group.unit,
        "container": group.container,
        "job": group.job,
        "pod": group.pod,
    }
