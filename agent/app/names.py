"""Names of users, asked for without ever holding the loop."""

import asyncio

from agent.server.roles import Caller, user_name

NAME_S = 1.0


class Names:
    """A directory service that hangs holds one thread a user, however often that one asks."""

    def __init__(self) -> None:
        self._looked: dict[int, asyncio.Future[str]] = {}

    async def of(self, caller: Caller) -> str:
        """The user's name, or the number where it is not known in time."""
        uid, name = caller.uid, str(caller.uid)
        looked = self._looked.get(uid)
        if looked is None:
            looked = self._looked[uid] = asyncio.get_running_loop().run_in_executor(None, user_name, uid)
        try:
            async with asyncio.timeout(NAME_S):
                name = await asyncio.shield(looked)
        except TimeoutError:
            return name
        if name == str(uid):
            self._looked.pop(uid, None)  # not known, or not now: asked again the next time
        return name
