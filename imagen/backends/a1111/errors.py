"""What a server with A1111's API says when something is wrong, as errors of imagen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.core.json_values import as_list, as_mapping, parse_json
from imagen.core.text import one_line
from imagen.errors import BackendError, Failed, Lost, Rejected
from imagen.net.http import response_error

if TYPE_CHECKING:
    import httpx

_GATEWAY_STATUSES = (502, 503, 504)
_PLAIN_FAILURE = b"Internal Server Error"
"""The whole answer of servers that do not report their exceptions, such as Forge."""
_MEMORY = "Use a smaller size or fewer images at once, or free other GPU memory."
_SEE_LOG = "See the server's own log."
NO_API = "Start it with --api (A1111, Forge), and check that the URL is that of its web page."


def answer_error(
    response: httpx.Response, at: str, *, backend: str, credential: str
) -> BackendError:
    """The error for a job that was answered without images.

    An answer that is not in the server's form, such as a gateway's page, says nothing about the
    job: then it is a Lost that is not certain.
    """
    status = response.status_code
    if status in (401, 403, 429) or response.is_redirect:
        return response_error(response, at, credential=credential)
    if status == 413:
        return Rejected(
            f"The request is too large for {at}.",
            remedy="Use smaller images, or raise the limit of the proxy in front of it.",
        )
    reason = _server_reason(response)
    if reason is None or status in _GATEWAY_STATUSES:
        error = response_error(response, at)
        return Lost(
            f"{error.message} The server behind it may have the job.",
            remedy=error.remedy,
            is_certain=False,
        )
    lower = reason.lower()
    if response.is_client_error or "not found" in lower:
        models = f"See: imagen models --backend {backend}." if "not found" in lower else ""
        if status == 404 and lower == "not found":
            return Rejected(f"{at} does not have this function of A1111's API.", remedy=NO_API)
        return Rejected(f"{at} refused the request: {reason or status}.", remedy=models)
    remedy = _MEMORY if "out of memory" in lower or "outofmemory" in lower else _SEE_LOG
    return Failed(
        f"{at} did not generate the image: {reason or 'it gave no reason'}.", remedy=remedy
    )


def _server_reason(response: httpx.Response) -> str | None:
    """Why the server says that it failed, maybe ""; None where something else answered."""
    if response.content.strip() == _PLAIN_FAILURE:
        return ""
    try:
        answer = parse_json(response.content)
    except ValueError:
        return None
    if isinstance(answer, str):
        return _sentence(answer)
    values = as_mapping(answer)
    if not values.keys() & {"error", "errors", "detail"}:
        return None
    wrong = [
        f"{_place(as_list(one.get('loc')))}{one.get('msg')}"
        for one in map(as_mapping, as_list(values.get("detail")))
    ]
    kind, detail = values.get("error"), "; ".join(wrong) or values.get("detail")
    text = detail or values.get("errors") or values.get("message") or kind
    says_kind = isinstance(kind, str) and kind.endswith("Error") and kind not in str(text)
    return _sentence(f"{kind}: {text}" if says_kind else text)


def _place(location: list[object]) -> str:
    names = [str(part) for part in location if part != "body"]
    return f"{'.'.join(names)}: " if names else ""


def _sentence(text: object) -> str:
    return one_line(str(text or ""), limit=500).rstrip(".")
