"""The operator's own ssh as the transport, for what ours does not do: its connection sharing, its hardware, its known
hosts by command. One process a host, 12 ms and 2 to 3 MiB each, where our own SSH costs 32 KiB.

`words` builds command lines and `says` reads what ssh prints (both pure), `process` is one run of it, `askpass` brings
its questions to our prompter, `way` is what a link uses, `network` what all ways share.
"""
