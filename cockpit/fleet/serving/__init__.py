"""PURE. What serves users, as agents tell it: replicas, the balancers in front of them, and the pools they make up.

`facts` reads what travels, `roster` calls the roll, `words` is what filters look at, `backends` joins balancers to
replicas, `latency` merges what users waited for. `cockpit.fleet.replicas` and `cockpit.fleet.pools` are what screens
and command lines read.
"""
