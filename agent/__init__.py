"""The agent: one light daemon per GPU host; `agent.wire` is the contract it publishes."""

__version__ = "0.1.0"
