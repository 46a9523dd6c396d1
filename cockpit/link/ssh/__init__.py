"""The way through sshd: logins, bastions, the paths from a host's sshd to its agent, and what went wrong on them.

Imports asyncssh, so nothing outside this room and its neighbours of the way imports it before the first SSH link runs.
"""
