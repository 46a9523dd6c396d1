"""What outlives an agent: `State` (state.json) and the numbered `EventLog`.

Recording may fail, streaming may not: a full, read-only or corrupt disk costs a reason on the screen, never an event.
"""

from agent.recorder.event_log import EventLog
from agent.recorder.state import State

__all__ = ["EventLog", "State"]
