"""The way through sshd: logins, bastions, the paths from a host's sshd to its agent, and what went wrong on them.

All but `trail` and `by_hand` import asyncssh, so nothing but a factory that is about to make an SSH way imports them.
"""
