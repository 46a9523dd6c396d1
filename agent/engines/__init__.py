"""PURE. One file per serving engine: what gives it away, which of its read-only pages are worth asking for, and what
their text says. Nothing here opens a socket, and nothing an engine does not say is ever made up: it is None.
"""
