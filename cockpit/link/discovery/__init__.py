"""Agents that announce themselves on the local network: hints, never trust. zeroconf is imported when asked."""
