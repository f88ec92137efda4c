"""A load balancer of the lab, as a program: asks URLs once, or watches them.

    client_http.py once URL...              one JSON object: URL -> [status, body]; status 0 where nobody answers
    client_http.py watch LOG URL...         a line for each answer, without end: URL-NUMBER STATUS SENT ANSWERED

Times are CLOCK_MONOTONIC seconds (one clock for all namespaces). A check has 0.5 s; rounds are 10 ms apart.
"""

from __future__ import annotations

import http.client
import json
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

CHECK_S = 0.5
PAUSE_S = 0.01


def ask(url: str) -> tuple[int, str]:
    """One GET; status 0 and the error where there is no answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=CHECK_S)
    try:
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()


def watch(log: Path, urls: list[str]) -> None:
    """Ask all of them in turn, for ever."""
    with log.open("a", buffering=1) as file:
        while True:
            for number, url in enumerate(urls):
                sent_s = time.monotonic()
                status, _ = ask(url)
                print(number, status, f"{sent_s:.4f}", f"{time.monotonic():.4f}", file=file)
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    if sys.argv[1] == "once":
        print(json.dumps({url: ask(url) for url in sys.argv[2:]}))
    else:
        watch(Path(sys.argv[2]), sys.argv[3:])
