"""A small object store with conditional put, in memory: as S3 answers, as far as the recipe's program asks.

It checks each signature by what AWS documents, and knows what can go wrong: conflicts, answers that are lost, and the
store that takes no notice of If-None-Match.
"""

from __future__ import annotations

import hashlib
import hmac
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, unquote, urlsplit

BUCKET = "witness"
KEY_ID, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI"
REGION = "eu-central-1"


@dataclass
class Store:
    """What is in it, and how it behaves. `page`: objects in one listing."""

    objects: dict[str, bytes] = field(default_factory=dict)
    conditional: bool = True
    conflicts: int = 0
    lost_answers: int = 0
    page: int = 1000
    requests: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, name: str, body: bytes, condition: str | None) -> int:
        with self.lock:
            self.requests += 1
            if self.conflicts and name.startswith("/"):
                self.conflicts -= 1
                return 409
            if self.conditional and condition == "*" and name in self.objects:
                return 412
            self.objects[name] = body
            return 200

    def listing(self, prefix: str, after: str) -> str:
        with self.lock:
            names = sorted(name for name in (key.partition(f"/{BUCKET}/")[2] for key in self.objects)
                           if name.startswith(prefix) and name > after)  # fmt: skip
        page = names[: self.page]
        keys = "".join(f"<Contents><Key>{name}</Key><Size>3</Size></Contents>" for name in page)
        more = f"<NextContinuationToken>{page[-1]}</NextContinuationToken>" if len(names) > self.page else ""
        return f"<ListBucketResult><KeyCount>{len(page)}</KeyCount>{keys}{more}</ListBucketResult>"


def signature(handler: BaseHTTPRequestHandler, body: bytes) -> str:
    """What the signature must be (Amazon S3 API Reference, "Signature Calculations for the Authorization Header")."""
    proof = handler.headers["Authorization"]
    words = dict(part.strip().split("=", 1) for part in proof.removeprefix("AWS4-HMAC-SHA256").split(","))
    parts = urlsplit(handler.path)
    signed = words["SignedHeaders"].split(";")
    assert {"host", "x-amz-content-sha256", "x-amz-date"} <= {*signed}
    assert ("if-none-match" in signed) == ("If-None-Match" in handler.headers)
    query = "&".join(sorted(parts.query.split("&"))) if parts.query else ""
    lines = [f"{name}:{handler.headers[name].strip()}\n" for name in signed]
    digest = hashlib.sha256(body).hexdigest()
    request = "\n".join([handler.command, parts.path, query, "".join(lines), ";".join(signed), digest])
    key_id, day, region, service, end = words["Credential"].split("/")
    assert (key_id, region, service, end) == (KEY_ID, REGION, "s3", "aws4_request")
    scope = f"{day}/{region}/{service}/{end}"
    to_sign = ["AWS4-HMAC-SHA256", handler.headers["X-Amz-Date"], scope, hashlib.sha256(request.encode()).hexdigest()]
    key = f"AWS4{SECRET}".encode()
    for one in (day, region, service, end):
        key = hmac.digest(key, one.encode(), "sha256")
    return hmac.new(key, "\n".join(to_sign).encode(), hashlib.sha256).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """One connection. `store` is set by `serve`."""

    protocol_version = "HTTP/1.1"
    store: Store

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._allowed(body):
            code = self.store.put(self.path, body, self.headers["If-None-Match"])
            if self.store.lost_answers:
                self.store.lost_answers -= 1
                self.close_connection = True
                return
            names = {409: "ConditionalRequestConflict", 412: "PreconditionFailed"}
            self._say(code, f"<Error><Code>{names[code]}</Code></Error>" if code in names else "")

    def do_GET(self) -> None:
        if not self._allowed(b""):
            return
        parts = urlsplit(self.path)
        words = dict(parse_qsl(parts.query))
        if words.get("list-type") == "2" and parts.path == f"/{BUCKET}":
            self._say(200, self.store.listing(words["prefix"], words.get("continuation-token", "")))
        elif (found := self.store.objects.get(unquote(parts.path))) is not None:
            self._say(200, found.decode())
        else:
            self._say(404, "<Error><Code>NoSuchKey</Code></Error>")

    def _allowed(self, body: bytes) -> bool:
        given = self.headers["Authorization"].rpartition("Signature=")[2]
        if given == signature(self, body):
            return True
        self._say(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>")
        return False

    def _say(self, code: int, text: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


def serve(store: Store) -> ThreadingHTTPServer:
    """Runs until `shutdown`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"store": store}))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server
