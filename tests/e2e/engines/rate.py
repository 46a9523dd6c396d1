"""Load at a fixed rate on an OpenAI-like server, from the standard library alone, until its standard input ends; prints
what came as one JSON object.

usage: python rate.py PORT MODEL RATE STREAM_EVERY STREAM_TOKENS
Open loop: a request begins when its time has come, whatever became of those before it. One of STREAM_EVERY streams. A
request that does not end well, to its last byte, is counted as failed, with why.
"""

import asyncio
import json
import sys
import time

port, model = int(sys.argv[1]), sys.argv[2]
rate, stream_every, stream_tokens = float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
DEADLINE_S = 20.0
HEAD = (
    "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
    "Content-Length: {}\r\n\r\n"
)
failed: list[str] = []
counts = {"sent": 0, "ok": 0, "streams": 0}


async def ask(number: int) -> str:
    """Why one request did not end well; empty if it did."""
    streams = number % stream_every == 0
    body = {"model": model, "prompt": f"on call {number}", "max_tokens": stream_tokens if streams else 1,
            "stream": streams, "ignore_eos": True}  # fmt: skip
    text = json.dumps(body)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write((HEAD.format(len(text)) + text).encode())
        answer = await reader.read(-1)
    finally:
        writer.close()
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        return head[:60].decode(errors="replace") or "closed without an answer"
    if b'"error"' in rest:
        return "an error within the answer"
    whole = b"data: [DONE]" in rest if streams else b'"usage"' in rest
    return "" if whole else f"truncated after {len(rest)} bytes"


async def one(number: int) -> None:
    """One request from its first byte to its last."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            why = await ask(number)
    except (OSError, TimeoutError) as error:
        why = type(error).__name__
    counts["ok" if not why else "failed"] = counts.get("ok" if not why else "failed", 0) + 1
    counts["streams"] += number % stream_every == 0
    if why and len(failed) < 20:
        failed.append(f"{why} (request {number})")


async def main() -> None:
    """Until nobody wants more."""
    ends = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ends.set)
    begun = time.monotonic()
    async with asyncio.TaskGroup() as group:
        while not ends.is_set():
            while counts["sent"] < (time.monotonic() - begun) * rate:
                group.create_task(one(counts["sent"]))
                counts["sent"] += 1
            await asyncio.sleep(0.002)
        took = time.monotonic() - begun
    print(json.dumps({**counts, "failed": counts.get("failed", 0), "why": failed, "per_s": counts["sent"] / took}))


asyncio.run(main())
