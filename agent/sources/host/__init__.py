"""The host itself: processor, memory, network, disks, as /proc and /sys tell it.

Descriptors are kept open and read in place: a tick costs some 35 us where opening the files anew costs seven times
that. A file this kernel does not have makes its signals `unsupported`, never zero.
"""

from agent.sources.host.signals import SIGNALS
from agent.sources.host.source import HostSource

__all__ = ["SIGNALS", "HostSource"]
