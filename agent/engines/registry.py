"""PURE. The engines that are known. One file and one line each; the order decides only between equal evidence."""

from agent.engines.engine import Engine

ENGINES: tuple[Engine, ...] = ()
