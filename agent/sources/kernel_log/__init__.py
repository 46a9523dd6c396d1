"""The kernel's own log: the first witness of GPU faults.

`record` and `parse` are pure and survive any text; `assemble` puts messages of several records together; `storm`
counts what repeats; `source` reads /dev/kmsg. An unknown XID code survives as it is: a newer driver must not be mute.
"""

from agent.sources.kernel_log.source import KernelLogSource

__all__ = ["KernelLogSource"]
