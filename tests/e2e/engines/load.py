"""Streaming load on an OpenAI-like server, from the standard library alone; prints what came as one JSON object.

usage: python load.py URL MODEL REQUESTS TOKENS [WORKERS]
Exact: every request's prompt and completion tokens are those that its answer's last part names. A request that does not
end well is counted as failed, with why.
"""

import http.client
import json
import queue
import sys
import threading
import time
from urllib.parse import urlsplit

url, model = urlsplit(sys.argv[1]), sys.argv[2]
requests, tokens = int(sys.argv[3]), int(sys.argv[4])
workers = int(sys.argv[5]) if len(sys.argv) > 5 else 4
DEADLINE_S = 600.0  # longer than any test: who is stopped in the middle is ended from outside

todo: "queue.Queue[int]" = queue.Queue()
told: list[dict[str, object]] = []
for number in range(requests):
    todo.put(number)


def ask(number: int) -> dict[str, object]:
    """One request from its first byte to its last."""
    body = {
        "model": model,
        "prompt": "on call gpu fleet " * 6 + str(number),
        "max_tokens": tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
        "temperature": 0.8,
    }
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=DEADLINE_S)
    try:
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        usage: dict[str, int] = {}
        ended = False
        for line in answer:
            if line.startswith(b"data: {"):
                usage = json.loads(line[6:]).get("usage") or usage
            ended = ended or line.startswith(b"data: [DONE]")
        well = answer.status == 200 and ended
        return {"ok": well, "why": "" if well else f"{answer.status}", **usage}
    except OSError as error:
        return {"ok": False, "why": type(error).__name__}
    except http.client.HTTPException as error:
        return {"ok": False, "why": type(error).__name__}
    finally:
        connection.close()


def work() -> None:
    """Until nothing is left to be asked."""
    while True:
        try:
            number = todo.get_nowait()
        except queue.Empty:
            return
        told.append(ask(number))


began = time.monotonic()
threads = [threading.Thread(target=work, daemon=True) for _ in range(workers)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
summary = {
    "sent": requests,
    "ok": sum(bool(one["ok"]) for one in told),
    "failed": [one["why"] for one in told if not one["ok"]],
    "tokens_in": sum(int(str(one.get("prompt_tokens", 0))) for one in told),
    "tokens_out": sum(int(str(one.get("completion_tokens", 0))) for one in told),
    "seconds": round(time.monotonic() - began, 3),
}
print(json.dumps(summary))
