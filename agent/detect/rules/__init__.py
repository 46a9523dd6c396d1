"""Every rule, in the order in which they are asked: a rule may look at what those above it have open.

A new rule is one function in a file of its family and one line here.
"""

from agent.detect.rule import Rule
from agent.detect.rules import availability, blindness, heat_power, memory, xid

RULES: tuple[Rule, ...] = (
    availability.gpu_lost,
    availability.gpu_missing,
    availability.gpu_unresponsive,
    xid.xid_fatal,
    availability.gpu_reset_required,
    memory.ecc_uncorrected,
    xid.xid_app,
    heat_power.thermal_hw,
    heat_power.power_brake,
    blindness.driver_down,
    blindness.driver_mismatch,
    blindness.agent_blind,
)
