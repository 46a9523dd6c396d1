"""The root helper: standard library alone, imported by nobody, run as `python -I -m agent.actuator` or by its own
path.

One request a connection, one JSON object a line (64 KiB at most), on a unix socket that only the agent's user may
use. Any number of {"out": LINE} may come before the one last line {"end": END, "says": SENTENCE, "code": N, "data":
{...}}. A line of an answer has at most 1 MiB. END is

    done      it was done; for what only looks: here it is
    failed    it began, and did not do what it should; a look: there is no such thing (code 404), or it cannot be seen
    refused   nothing was begun: not allowed, not understood, not what was expected any more, or busy
    unknown   it began, and nobody can say how it ended: look

    {"v": 1, "verb": "plan" | "act", "action": ID, "args": {...}, "key", "run", "step", "reason",
     "who": {"uid": N, "user", "by", "role"}}
    {"v": 1, "verb": "look", "what": WHAT, ...}
    {"v": 1, "verb": "note", "record": {...}, "who": {...}, "key", "run", "step"}
    {"v": 1, "verb": "void", "key", "who": {...}, "run", "step", "reason"}
    {"v": 1, "verb": "head"}                               data: {"count", "head", "says"}
    {"v": 1, "verb": "audit", "first": N, "limit": N}      data: {"first", "lines": [TEXT], "count", "head", "says"}
    {"v": 1, "verb": "read", "bundle": KEY, "part": NAME, "offset": N}    data: {"base64", "total", "sha256"}

`args` are scalars or lists of text; what each action takes, and how it must look, stands in its family (`FAMILIES` of
`agent.actuator.families`; an argument that its action does not know is refused). `args["expect"]` is a flat map of
text: what must still hold right before the action (unit `invocation`, container `id` and `started_at`, process
`started`, always `boot`); empty values expect nothing; another value and it is refused with code 409.

`plan` changes nothing and always ends `done` when it was understood. data: {"allowed": bool, "rule": the sentence's
rule, "role": the role it needs, "argv": [[...], ...] what would be executed, in this order, "says", "missing": name
of a tool that is not installed or ""}, and what a family adds (haproxy: "floor"). Actions that the agent executes
itself (`engine.pause`, `engine.resume`, `gpu.let_go`, `gpu.resume`) can be planned and not acted: their argv is
empty, and what became of them is told by `note`.

`act` needs a `key` and is decided by the policy anew. It is written into the audit, and synced, before it begins and
after it ended. A key that has begun is never begun again: the answer is how it ended, with data {"repeat": true}, or
`unknown`, with data {"repeat": true, "running": bool}. One action at a time on a target: refused with code 423 if it
is busy. It goes on when the client goes away. Codes of refusals: 400 not understood, 403 not allowed, 409 not as
expected, 423 busy, 424 a tool is not installed, 429 too many, 507 it cannot be audited.

`look` needs no policy: unit {"unit"}, container {"container", "runtime"}, process {"pid"}, holders {"minor"}, tools,
policy -> {"rules": [{"actions", "role"}]}, key {"key"} -> {"state": "none" | "begun" | "ended", "end", "says",
"running", "data"}; haproxy and bundles as their families say. `void` answers like the look at a key; one that had not
begun never will from then on. `note` appends a record that is marked as said by the agent ("by": "agent"): `record`
is a flat map, 8 KiB at most. Whoever is not the agent's user is refused with code 403 before the request is read,
root too, and audited.
"""
