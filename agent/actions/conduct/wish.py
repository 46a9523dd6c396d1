"""Is a wish whole? What a console sends is bounded and named by strict patterns before anybody acts on it."""

import re
from hashlib import blake2s

import msgpack

from agent.errors import Refusal
from agent.wire.actions import Act

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~/-]{0,63}")
BYTES = 8 * 1024  # of parameters and what is expected, together
REASON = 512


def checked(act: Act) -> None:
    """Raises Refusal: it is not to be understood."""
    if not KEY.fullmatch(act.key):
        raise Refusal("invalid", "the key of an action is letters, digits and . _ ~ / -; take RUN/STEP")
    if act.of and not KEY.fullmatch(act.of):
        raise Refusal("invalid", f"there is no action {act.of[:32]!r}: a key is letters, digits and . _ ~ / -")
    size = sum(len(name) + len(value) for part in (act.params, act.expect) for name, value in part.items())
    if size > BYTES:
        raise Refusal("too_large", f"parameters of {size} characters; at most {BYTES}")
    if len(act.reason) > REASON:
        raise Refusal("too_large", f"the reason has {len(act.reason)} characters; at most {REASON}")


def about(act: Act) -> str:
    """What tells one wish from another under the same key: what is wanted, never who sends it or why, for another
    console may take a run over and ask again."""
    wanted = [act.mode.value, act.action, act.subject, act.of, sorted(act.params.items())]
    return blake2s(msgpack.packb(wanted), digest_size=8).hexdigest()
