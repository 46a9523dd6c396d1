"""The root helper's single file, as its start sees it: there is nothing to unpack."""

import os
import sys


def run() -> int:
    """Be the root helper. It does not wait for what is under way longer than it says that it does."""
    from agent.actuator.__main__ import main

    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
