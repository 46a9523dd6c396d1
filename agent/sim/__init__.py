"""Simulated hosts: the same agent over the same `Source` interfaces, with invented hardware below.

A scenario or an injected fault reaches a rule only through signal values and kernel-log text, never by making a
finding: what is seen here is what a real host would show.
"""
