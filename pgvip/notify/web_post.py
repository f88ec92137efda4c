"""One POST to a web service, as a script: what it does is bounded by whoever runs it. Standard library alone.

It is a process of its own, and nobody's: a name server or a service that hangs holds no thread of the daemon, and what
answers speaks to no process of root's.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
from urllib.parse import urlsplit

SAID_MAX = 300
OK = range(200, 300)


def post(url: str, body: bytes, timeout_s: float) -> tuple[int, str]:
    """Status and the beginning of the answer; a redirection is not followed. OSError, http.client.HTTPException."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port, timeout=timeout_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("POST", target, body, {"Content-Type": "application/json", "User-Agent": "pgvip"})
        answer = connection.getresponse()
        return answer.status, answer.read(SAID_MAX).decode(errors="replace")
    finally:
        connection.close()


def main() -> int:
    """Post what standard input asks for; the URL is a secret and never repeated."""
    asked = json.loads(sys.stdin.read())
    host = urlsplit(asked["url"]).hostname
    try:
        status, said = post(asked["url"], json.dumps(asked["body"]).encode(), float(asked["timeout_s"]))
    except (OSError, http.client.HTTPException, ValueError) as failure:
        print(f"{host}: {type(failure).__name__}: {failure}".replace(asked["url"], "URL"), file=sys.stderr)  # noqa: T201 # what it says
        return 1
    if status not in OK:
        print(f"{host} answers {status}: {' '.join(said.split())}", file=sys.stderr)  # noqa: T201 # the same
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
