"""The floor of a pool that has no load balancer: a few agents, named in the configuration, keep who is out of it."""
