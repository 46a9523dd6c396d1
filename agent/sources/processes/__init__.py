"""Who holds which GPU: user, command without its secrets, and the unit, container, job or pod that owns it.

What the system hides from this user is `denied`, never guessed; a process that the driver lists but the system does
not know is shown as a ghost. A tick costs one read of a kept descriptor for each GPU process, whatever else runs.
"""

from agent.sources.processes.source import ProcessSource

__all__ = ["ProcessSource"]
