"""An agent brought along for the length of one link: nothing is installed on the host and nothing stays there.

`bundle` says which files make an agent, `bootstrap` is what the host's own Python runs first, `words` what sshd is
asked to start, `way` the transport. asyncssh is imported by `way` alone.
"""
