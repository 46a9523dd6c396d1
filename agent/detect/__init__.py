"""PURE. Host-scope rules: samples and events in, findings out.

`memory` keeps what came in, by `rows` of GPUs, replicas and the host; `view` is what a rule may look at, `rule` what a
rule is and says, `rules/` the rules themselves, `track` one finding's life and `tracks` all of them, `engine` the order
of it all, `correlate` and `kin` what belongs together, `catalogue` what each XID means.
"""

from agent.detect.engine import BROKEN, Engine, Transition
from agent.detect.rules import RULES
from agent.detect.track import Change

__all__ = ["BROKEN", "RULES", "Change", "Engine", "Transition"]
