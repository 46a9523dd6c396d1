"""Simulated serving: which replicas a host has, and engines that answer as vLLM and Triton do.

What an engine says follows from the demand of its replica, from the clocks and the health of its GPUs and from what was
done to it, step by step with the physics of its machine. It is read by the agent's own readers, over real HTTP where
there is a loop, so nothing here may know what they make of it.
"""
