"""One supervised link per host. Frames go in one direction, to the sink; nothing here judges what they say.

`link` supervises lanes, `session` speaks the wire (sans-I/O), `way` is what a link asks of a transport; `unix`, `ssh`,
`binary` and `temporary` are the transports, `factory` chooses. `keys`, `ssh_config` and `asking` are what a login
needs; `doctor` and `discovery` look at the way itself. asyncssh is imported when the first SSH link runs, never before.
"""

from cockpit.link.asking.prompts import Prompter
from cockpit.link.factory import links_for
from cockpit.link.link import Link, LinkSink
from cockpit.link.options import LinkOptions
from cockpit.link.timing import Timing

__all__ = ["Link", "LinkOptions", "LinkSink", "Prompter", "Timing", "links_for"]
