"""Every size the wire allows. Checked before memory is spent; a violation is a `WireError`."""

FROM_AGENT_BYTES = 1024 * 1024
FROM_COCKPIT_BYTES = 64 * 1024
BANNER_BYTES = 8 * 1024  # noise a login shell may print before the preamble
DEPTH = 8
ITEMS = 4096  # elements of one list or map
SPECS = 512
ROWS = 4096  # rows of one table
BLOCKS = 64
NAME = 256
TEXT = 4096
BLOB = 768 * 1024

HELLO_DEADLINE_S = 5.0
ACK_EVERY_S = 5.0
LEASE_S = 15.0  # a subscriber that has not acked for so long is let go
MIN_INTERVAL_S = 0.5
SNAPSHOT_EVENTS = 1000
SESSIONS = 64
SESSIONS_PER_UID = 8
EVENT_RING = 10_000
EVENT_BACKLOG = 10_000  # unsent events of one session before it gets a gap
