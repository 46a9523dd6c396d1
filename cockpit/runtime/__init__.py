"""The console's state and hands: `Runtime` owns links and fleet, `Runtime.hands` drafts plans and leads runs.

Rule: only this package sends. What follows from a request in the fleet is learnt from the frames that come back.
"""

from cockpit.runtime.hands import Fit, Hands
from cockpit.runtime.owner import LinkFactory, LinkSink, RunningLink, Runtime, claiming

__all__ = ["Fit", "Hands", "LinkFactory", "LinkSink", "RunningLink", "Runtime", "claiming"]
