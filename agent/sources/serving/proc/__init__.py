"""The real landscape: /proc's processes, their trees, sockets, network namespaces and cgroups. Only what is readable by
everybody is needed; what more rights show is used.

`scan` reads on a thread of its own, for a command line behind a hung driver can last for ever; between two scans a kept
descriptor of each root tells at once when it has gone.
"""

from agent.sources.serving.proc.landscape import ProcLandscape

__all__ = ["ProcLandscape"]
