"""The hands of a real host: the socket of the root helper and the engines' own doors. Refuses to be built for a
simulated host, and nothing of `agent.sim` may import it."""
