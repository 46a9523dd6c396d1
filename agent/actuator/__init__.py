"""The root helper: standard library alone, imported by nobody, run as `python -I -m agent.actuator` or by its own path.

One request a connection, one JSON object a line, on a unix socket that only the agent's user may use:

    {"v": 1, "verb": "plan" | "act", "action": ID, "args": {...}, "who": {"uid", "user", "by", "role"},
     "key", "run", "step", "reason"}
    {"v": 1, "verb": "look", "what": "unit" | "container" | "haproxy" | "holders" | "process" | "key" | "tools", ...}
    {"v": 1, "verb": "note", "record": {...}}         one line for the audit, marked as said by the agent
    {"v": 1, "verb": "head"}                          {"count", "head"} of the audit
    {"v": 1, "verb": "audit", "first": n, "limit": n} its lines
    {"v": 1, "verb": "read", "bundle": KEY, "part": NAME, "offset": n}   bytes (base64) of what was collected

answered by any number of {"out": LINE} and one last {"end": "done" | "failed" | "refused", "says", "code", "data"}.
`plan` changes nothing and says in `data`: {"allowed", "rule", "role", "argv": [[...]], "says"}. `act` is written into
the audit before it begins and after it ended; a key that has begun is never begun again.
"""
