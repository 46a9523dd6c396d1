"""Load balancers that run on this host, as they say themselves: read, and never told anything."""

from agent.sources.balancer.source import BalancerSource

__all__ = ["BalancerSource"]
