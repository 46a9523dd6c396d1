"""Who may do what. Roles are ranked; the role that an action wants is what the policy's rule says, never ours."""

from agent.actions.base import Who
from agent.wire.actions import Guard

VIEWER, OPERATOR, ADMIN = "viewer", "operator", "admin"
_RANK = {VIEWER: 0, OPERATOR: 1, ADMIN: 2}


def covers(role: str, wanted: str) -> bool:
    """Whether a caller of `role` may do what wants `wanted`. A role that nobody knows wants the highest."""
    return _RANK.get(role, 0) >= _RANK.get(wanted, _RANK[ADMIN])


def guard(who: Who, wanted: str) -> Guard:
    """The guard `role`."""
    if covers(who.role, wanted):
        return Guard("role", True, f"{who.user} has the role {who.role}")
    says = (
        f"{who.user} has the role {who.role} and this wants {wanted}: [roles] in the policy of this host gives it; "
        "ask its administrator"
    )
    return Guard("role", False, says)
