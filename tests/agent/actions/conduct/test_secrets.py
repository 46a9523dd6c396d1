"""What engines and programs say on the way is washed before it is told or written down."""

from pathlib import Path
from typing import Any

from agent.actions.base import Preflight, Result, Say, Who
from agent.wire.actions import Act, ActState
from tests.agent.actions.conduct.bench import Bench, Town, wish
from tests.fakes.clock import FakeClock

SECRET = "plant7f3a9c51d2e8Qz"


async def test_a_secret_that_an_engine_answers_is_in_no_entry_event_or_byte_of_the_journal(tmp_path: Path) -> None:
    async def run(act: Act, who: Who, found: Preflight, world: Any, say: Say) -> Result:
        say(f"asking https://user:{SECRET}@engine/pause?token={SECRET}")
        return Result(ActState.FAILED, f"vllm:8000 answered 401: Authorization: Bearer {SECRET} is not known")

    bench = Bench(Town(FakeClock()), tmp_path)
    bench.drain.run = run  # type: ignore[method-assign]
    async with bench.running():
        await bench.act(wish())
        entry = await bench.until()
        said = [event.text for event in bench.events()]
    assert entry.says == "vllm:8000 answered 401: Authorization: *** is not known"
    assert "asking https://***@engine/pause?token=***" in said
    assert SECRET not in f"{said}{bench.told}"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(b"is not known" in path.read_bytes() for path in files)
    assert not any(SECRET.encode() in path.read_bytes() for path in files)
