"""Replicas on this host: who listens, which engine it is, how it is, read over HTTP from itself alone.

`landscape` says what discovery hands over, `proc` is the real one. `applicant` finds out what a process group is,
`replica` reads one that is known; both are sans-I/O and driven by `rounds`, through `http` or a simulated client.
`roster` keeps them, `source` tells what changed. A slow or hostile endpoint costs nobody but its own replica.
"""
