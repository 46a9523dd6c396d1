"""A process group of which it is not yet known what it is: asked for a fixed list of pages until it is. Sans-I/O.

A port that its command line names is asked alone; an answer is believed before a command line. What merely forwards
requests, and what holds a GPU and serves nothing, is left in peace.
"""

from agent.clock import Instant
from agent.config.serving import Serving
from agent.engines import detect, ports
from agent.engines.answer import Answer, Ask
from agent.engines.detect import Identity
from agent.engines.evidence import Evidence
from agent.engines.marks import FINGERPRINT
from agent.sources.serving import match
from agent.sources.serving.client import Endpoint
from agent.sources.serving.errand import PERIOD_S, Pace, place
from agent.sources.serving.landscape import Group, Listener

MOST_PORTS = 6
SURE = 0.7
PASSES = 3  # rounds with an answer until what the command line says has to do
QUIET_S = 60.0  # between rounds once nothing came of several
STRANGER_S = 3600.0  # the same where nothing but a GPU and an open port speaks for it


class Applicant:
    """`identity` and `listener` as far as they are known; `settled` once nothing better is to be expected."""

    def __init__(self, group: Group, table: Serving | None = None) -> None:
        self.name = f"who:{group.key}"
        self.pace = Pace(place(group.key))
        self.group = group
        self.table = table
        self.identity: Identity | None = None
        self.listener: Listener | None = None
        self.settled = False
        self.left_out = ""
        self.asked_once = False
        self._passes = 0
        self._queue: list[Listener] = []
        self._at: Listener | None = None
        self._answers: dict[str, Answer] = {}
        self._best: tuple[float, Identity, Listener] | None = None

    @property
    def port(self) -> int:
        """Where it serves or will serve, as far as that is known; 0 where it is not."""
        if self.listener is not None:
            return self.listener.port
        if self.table is not None and self.table.port:
            return self.table.port
        return ports.stated(self.group.argvs) or (ports.usual(self.identity.engine.name) if self.identity else 0)

    def meet(self, group: Group) -> None:
        """The group as it is now."""
        if group.listeners != self.group.listeners and not self.settled:
            self._passes = 0
            self.pace.period_s = PERIOD_S
            self.pace.hurry()
        self.group = group

    def guess(self) -> None:
        """What the command line alone says."""
        if self.identity is None:
            self.identity = detect.recognise(Evidence(self.group.argvs, _titles(self.group), self.port))

    def begin(self, now: Instant) -> None:
        """A round: every port that is worth it."""
        del now
        self._best = None
        self._at = None
        self._queue = self._candidates()
        self.left_out = self._router()
        if self.left_out:
            self._queue = []

    def next(self) -> tuple[Endpoint, Ask] | None:
        """The next page to ask for; None when every port was asked."""
        while True:
            if self._at is None:
                if not self._queue:
                    self._end()
                    return None
                self._at, self._answers = self._queue.pop(0), {}
            ask = detect.next_probe(self._evidence(self._at))
            if ask is not None:
                return match.endpoint(self._at, self.table), ask
            self._leave()

    def take(self, ask: Ask, answer: Answer) -> None:
        """What came of it. A port that does not speak HTTP is asked nothing more."""
        self._answers[ask.path] = answer
        if answer.failure:
            self._leave()

    def _leave(self) -> None:
        """Done with this port."""
        listener, self._at = self._at, None
        if listener is None:
            return
        evidence = self._evidence(listener)
        self.left_out = self.left_out or detect.router(evidence)
        found = detect.recognise(evidence)
        answered = any(answer.status for answer in self._answers.values())
        if found is None or not (answered or listener.port == self.port):
            return
        worth = found.confidence + answered
        if self._best is None or worth > self._best[0]:
            self._best = (worth, found, listener)
        if found.confidence >= FINGERPRINT:
            self._queue.clear()

    def _end(self) -> None:
        self.asked_once = True
        if self._best is not None:
            worth, self.identity, self.listener = self._best
            self._passes += worth > 1
            self.settled = worth > 1 and (self.identity.confidence >= SURE or self._passes >= PASSES)
        elif self.group.listeners:
            self._passes += 1
        if self._best is None and self._passes >= PASSES:
            words = detect.might_serve(self.group.argvs, _titles(self.group))
            self.pace.period_s = QUIET_S if words or self.table is not None else STRANGER_S

    def _candidates(self) -> list[Listener]:
        """Ports in the order in which they are worth asking; of one that is named only that."""
        listening = self.group.listeners
        named = self.table.port if self.table and self.table.port else ports.stated(self.group.argvs)
        if named and any(one.port == named for one in listening):
            return [one for one in listening if one.port == named][:1]
        self.guess()
        usual = ports.usual(self.identity.engine.name) if self.identity else 0
        if named and self.identity:  # closed, or not open yet: the door where it prints its numbers is nobody's own
            own = [one.port for one in listening]
            aside = {port for door in self.identity.engine.doors for port in door.ports(self.group.argvs, named, own)}
            listening = tuple(one for one in listening if one.port not in aside)
        return sorted(listening, key=lambda one: (one.port != usual, one.port))[:MOST_PORTS]

    def _router(self) -> str:
        return detect.router(Evidence(self.group.argvs, _titles(self.group)))

    def _evidence(self, listener: Listener) -> Evidence:
        return Evidence(self.group.argvs, _titles(self.group), listener.port, self._answers)


def _titles(group: Group) -> tuple[str, ...]:
    return tuple(process.argv[0] for process in group.processes if len(process.argv) == 1)
