"""What stands between the operator and a host's agent, step by step, each broken one with the command that mends it.

Nothing is tried here that a link would not try: `doctor` runs the links themselves and reads what they met (their
trail, their last error, the agent's facts and reasons). A step that was not reached is skipped and says because of
what; it is never guessed. `report` and `remedy` are pure.
"""

from cockpit.link.doctor.examine import Examination, exit_status
from cockpit.link.doctor.report import Report, State, Step

__all__ = ["Examination", "Report", "State", "Step", "exit_status"]
