"""Protocol identity. A major change breaks; a minor change only adds kinds, keys and specs."""

MAGIC = b"\x89GPUCK\r\n"
MAJOR = 1
MINOR = 3
PREAMBLE = MAGIC + bytes((MAJOR,))
