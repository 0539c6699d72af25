"""What can be asked of a ComfyUI server over HTTP."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from imagen.backends.comfyui import answers
from imagen.backends.comfyui.config import base, credential, headers
from imagen.backends.comfyui.errors import unreachable
from imagen.core.json_values import parse_json
from imagen.core.text import one_line
from imagen.errors import BackendError, Rejected, Unavailable, WorkflowError
from imagen.net import http

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

    from imagen.backends.comfyui.config import ComfyUIConfig

T = TypeVar("T")

_LONGEST_ANSWER_SECONDS = 60.0
_SHORT_ANSWER_SECONDS = 10.0  # for a small question, which is asked again if need be
_JSON = {"Content-Type": "application/json"}
_RAISE_LIMIT = (
    "start the server, or the proxy before it, with a higher limit "
    "(ComfyUI: --max-upload-size, in MB)."
)
_MOST_VALUES = 5_000_000  # a catalogue lists every file for every node that takes one
_RECENT = 20  # entries of the history that are looked through for a job whose id is not known


class ComfyClient:
    """One server, whose connections are kept alive until `close`; for any number of threads."""

    def __init__(self, config: ComfyUIConfig) -> None:
        self._config = config
        self.at = base(config.url)
        self.known: answers.Stats | None = None
        """What the server said of itself, once it was asked."""
        self.is_comfyui = False
        """Whether anything at this address has answered as ComfyUI does."""
        self.headers = headers(config)
        self.tls = http.tls(self.at, config.ca_file)
        self._soon = http.timeouts(
            connect_seconds=config.connect_seconds,
            read_seconds=min(_SHORT_ANSWER_SECONDS, config.idle_seconds),
        )
        self._http = http.HttpClient(
            self.at,
            headers=self.headers,
            connect_seconds=config.connect_seconds,
            read_seconds=min(_LONGEST_ANSWER_SECONDS, config.idle_seconds),
            tls=self.tls,
        )

    def submit(
        self,
        graph: Mapping[str, Any],
        prompt_id: str,
        client_id: str,
        *,
        read_seconds: float = _LONGEST_ANSWER_SECONDS,
    ) -> answers.Accepted | answers.Refused:
        """Queue a graph; raises BackendError for any answer that is not ComfyUI's."""
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": client_id}
        timeout = http.timeouts(
            connect_seconds=self._config.connect_seconds,
            read_seconds=min(_LONGEST_ANSWER_SECONDS, read_seconds),
        )
        response = self._send(
            "POST", "/prompt", content=_encoded(body), headers=_JSON, timeout=timeout
        )
        if response.status_code == 400:
            with suppress(BackendError):
                return self._read(response, answers.refused)
        if response.status_code == 413:
            raise Rejected(
                f"{self.at} takes no request as large as this one.",
                remedy=_RAISE_LIMIT[0].upper() + _RAISE_LIMIT[1:],
            )
        return self._read(self.succeeded(response), answers.accepted)

    def upload(self, data: bytes, name: str, subfolder: str, media_type: str) -> str:
        """Store a picture among the server's inputs; what a graph calls it there.

        Other bytes under a name that is taken get another name, which is the one that counts.
        """
        response = self._send(
            "POST",
            "/upload/image",
            files={"image": (name, data, media_type or "application/octet-stream")},
            data={"subfolder": subfolder, "type": "input"},
        )
        if response.status_code == 413:
            raise Rejected(
                f"{self.at} takes no picture as large as {len(data) / 1e6:.1f} MB.",
                remedy=f"Give it a smaller one, or {_RAISE_LIMIT}",
            )
        return self._read(self.succeeded(response), answers.stored)

    def history(self, prompt_id: str) -> answers.HistoryEntry | None:
        """What became of a prompt; None where it has not ended, or is not known."""
        path = f"/history/{quote(prompt_id, safe='')}"  # an old server chooses its own ids
        read = partial(answers.entry, prompt_id=prompt_id)
        return self._get(path, read, timeout=self._soon)

    def queue(self) -> answers.Queue:
        """What runs and what waits."""
        return self._get("/queue", answers.queue, timeout=self._soon)

    def find(self, client_id: str) -> str | None:
        """The id of the one prompt of this client, wherever it is by now."""
        waiting = self.queue().of_client(client_id)  # first: from there it goes to the history
        if waiting is not None:
            return waiting
        read = partial(answers.of_client, client_id=client_id)
        return self._get("/history", read, params={"max_items": _RECENT}, timeout=self._soon)

    def delete(self, prompt_id: str) -> None:
        """Take a prompt out of the queue; one that runs is left alone."""
        self._post("/queue", {"delete": [prompt_id]})

    def interrupt(self, prompt_id: str | None) -> None:
        """Stop this prompt if it runs; None stops whatever runs."""
        self._post("/interrupt", {} if prompt_id is None else {"prompt_id": prompt_id})

    def free(self) -> None:
        """Ask the server to let go of its models, once what it does now is done."""
        self._post("/free", {"unload_models": True, "free_memory": True})

    def stats(self) -> answers.Stats:
        """The server's version and the memory it uses."""
        self.known = self._get("/system_stats", answers.stats)
        return self.known

    def version(self) -> str | None:
        """The server's version, asked for once."""
        return (self.known or self.stats()).version

    def catalogue(self) -> dict[str, Any]:
        """Every class of node the server has, with its inputs and choices."""
        return self._get("/object_info", answers.catalogue)

    def node_info(self, kind: str) -> dict[str, Any]:
        """One class of node, under its name; empty where the server has no such class."""
        return self._get(f"/object_info/{quote(kind, safe='')}", answers.catalogue)

    def folder(self, name: str) -> list[Any]:
        """The files of a folder below models/, with their sizes; not every server tells."""
        return self._get(f"/experiment/models/{quote(name, safe='')}", answers.folder)

    def view(self, filename: str, subfolder: str, folder: str) -> httpx.Response:
        """The bytes of a file that the server made."""
        names = {"filename": filename, "subfolder": subfolder, "type": folder}
        # Half a surrogate pair, which JSON can hold, has no place in an address.
        params = {key: name.encode("utf-8", "replace").decode() for key, name in names.items()}
        return self._send(
            "GET",
            "/view",
            params=params,
            limit=http.LARGEST_FILE,
            seconds=self._config.total_seconds,
        )

    @property
    def is_closed(self) -> bool:
        return self._http.is_closed

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, read: Callable[[Any], T], **kwargs: Any) -> T:
        return self._read(self.succeeded(self._send("GET", path, **kwargs)), read)

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        content = _encoded(body)
        self.succeeded(self._send("POST", path, content=content, headers=_JSON, timeout=self._soon))

    def _send(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        if self.is_closed:  # by a thread that is no longer waited for
            raise BackendError("The backend was closed while it worked.")
        try:
            return self._http.request(method, path, **kwargs)
        except Unavailable as error:
            if not error.remedy and http.not_sent(error):
                raise error.with_remedy(unreachable(self._config)) from error
            raise

    def succeeded(self, response: httpx.Response) -> httpx.Response:
        """The response, if it is a success."""
        try:
            return http.check_response(response, self.at, credential=credential(self._config))
        except Rejected as error:
            if error.remedy:
                raise
            raise error.with_remedy(self._where()) from error

    def _read(self, response: httpx.Response, read: Callable[[Any], T]) -> T:
        """What ComfyUI says; raises BackendError where something else answered."""
        try:
            said = read(parse_json(response.content, max_values=_MOST_VALUES, strict_numbers=False))
        except ValueError as error:
            kind = one_line(response.headers.get("content-type", "").partition(";")[0])
            what = f"it sent {kind or 'nothing'} instead of JSON"
            raise BackendError(
                f"{self.at} does not answer like ComfyUI: "
                f"{f'its JSON {one_line(str(error))}' if 'json' in kind else what}.",
                remedy=self._where(),
            ) from error
        self.is_comfyui = True
        return said

    def _where(self) -> str:
        return (
            f"See that backends.{self._config.name}.url is ComfyUI's address, with its path if any."
        )


def _encoded(body: Mapping[str, Any]) -> bytes:
    """JSON in plain ASCII, which carries any text whole: half a surrogate pair too."""
    try:
        return json.dumps(body, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (ValueError, TypeError) as error:
        raise WorkflowError(f"The graph can't be sent as JSON: {error}.") from error
