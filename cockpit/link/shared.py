"""What all links of one cockpit have in common; one object of it per inventory."""

import random
from collections import Counter
from typing import TYPE_CHECKING

from cockpit.clock import Clock
from cockpit.link.asking.prompts import Questions
from cockpit.link.gate import LOGINS, SNAPSHOTS, Gate
from cockpit.link.metronome import Metronome
from cockpit.link.options import LinkOptions
from cockpit.link.session import Schemas
from cockpit.link.timing import Timing

if TYPE_CHECKING:
    from cockpit.inventory import Hop
    from cockpit.link.ssh.trail import Trails


class Shared:
    """Time and its limits, the schemas already known, the places for whoever is about to connect, the timer of all
    leases, what the operator decided, who asks the operator, and the name that the operator claims towards agents."""

    def __init__(
        self,
        clock: Clock,
        timing: Timing | None = None,
        operator: str = "",
        options: LinkOptions | None = None,
    ) -> None:
        self.operator = operator
        self.options = options or LinkOptions()
        self.questions = Questions(None if self.options.batch else self.options.prompter)
        self.hosts = 0  # of the inventory
        self.behind: Counter[tuple[Hop, ...]] = Counter()  # how many hosts are reached through these hops
        self.clock = clock
        self.timing = timing or Timing()
        self.schemas = Schemas()
        self.logins = Gate(clock, LOGINS)
        self.snapshots = Gate(clock, SNAPSHOTS)
        self.metronome = Metronome(clock)
        self.rng = random.Random()
        self.trails: Trails | None = None  # set by who wants to know how far logins come
