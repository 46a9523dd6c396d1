"""Hands of simulated hosts: what a root helper would do there, done to the machine of the simulation.

Executors are the real ones; here is only the world that they look at and change: services, containers, processes and a
load balancer that follow from the machine, and a helper that speaks the protocol of the real one. What is done is kept
as deeds, which a resumed fleet repeats; nothing here touches this computer.
"""
