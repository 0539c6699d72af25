"""A bucket of S3-compatible storage, as far as one needs it to keep files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Self

from imagen.testing.http_server import CUT, HttpAnswer, HttpServer

if TYPE_CHECKING:
    from imagen.testing.http_server import HttpRequest

KEY_ID, SECRET = "simulated-key-id", "simulated-secret"


class S3Bucket:
    """The bucket `files`. A context manager; `environ` has what a client needs to reach it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.is_down = False
        self._server = HttpServer(self._answer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    @property
    def environ(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self._server.url,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
        }

    def _answer(self, request: HttpRequest) -> HttpAnswer:
        if self.is_down:
            return CUT
        if f"Credential={KEY_ID}/" not in request.headers.get("authorization", ""):
            return HttpAnswer(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
        key = request.path.removeprefix("/files").strip("/")
        if request.method == "POST":  # DeleteObjects
            names = re.findall(r"<Key>(.*?)</Key>", request.body.decode())
            for name in names:
                self.objects.pop(name, None)
            deleted = "".join(f"<Deleted><Key>{name}</Key></Deleted>" for name in names)
            return HttpAnswer(body=f"<DeleteResult>{deleted}</DeleteResult>".encode())
        if request.method == "DELETE":
            self.objects.pop(key, None)
            return HttpAnswer(status=204)
        if request.method == "PUT":
            self.objects[key] = request.body
            return HttpAnswer(headers={"ETag": '"1"'})
        if key not in self.objects:
            return HttpAnswer(status=404, body=b"<Error><Code>NoSuchKey</Code></Error>")
        headers = {"ETag": '"1"', "Last-Modified": "Mon, 30 Nov 2026 12:00:00 GMT"}
        return HttpAnswer(body=self.objects[key], headers=headers)
