"""The console: links to agents, the state of the fleet, and the terminal screens over it."""

__version__ = "0.1.0"
