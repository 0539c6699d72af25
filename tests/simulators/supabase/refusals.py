"""How a simulated Supabase says no: Storage hides the real status, PostgREST does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.testing.answer import as_json

if TYPE_CHECKING:
    from imagen.testing.answer import Answer


def storage(status: int, error: str, message: str, code: str) -> Answer:
    """A refusal of Storage: 400 on the outside, whatever it is."""
    said = {"statusCode": str(status), "error": error, "message": message, "code": code}
    return as_json(said, 400)


def no_bucket() -> Answer:
    return storage(404, "Bucket not found", "Bucket not found", "NoSuchBucket")


def no_object() -> Answer:
    return storage(404, "not_found", "Object not found", "NoSuchKey")


def duplicate(code: str) -> Answer:
    return storage(409, "Duplicate", "The resource already exists", code)


def denied(message: str) -> Answer:
    return storage(403, "Unauthorized", message, "AccessDenied")


def invalid_request(message: str) -> Answer:
    return storage(400, "Error", message, "InvalidRequest")


def invalid_key(path: str) -> Answer:
    return storage(400, "InvalidKey", f"Invalid key: {path}", "InvalidKey")


def invalid_token(message: str) -> Answer:
    return storage(400, "InvalidJWT", message, "InvalidJWT")


def unsupported(media_type: str) -> Answer:
    message = f"mime type {media_type} is not supported"
    return storage(415, "invalid_mime_type", message, "InvalidMimeType")


def too_large() -> Answer:
    message = "The object exceeded the maximum allowed size"
    return storage(413, "Payload too large", message, "EntityTooLarge")


def no_route(method: str, path: str) -> Answer:
    message = f"Route {method}:{path} not found"
    return as_json({"message": message, "error": "Not Found", "statusCode": 404}, 404)


def rest(
    status: int, code: str, message: str, *, details: str | None = None, hint: str | None = None
) -> Answer:
    """A refusal of PostgREST."""
    said = {"code": code, "message": message, "details": details, "hint": hint}
    more = {"WWW_Authenticate": 'Bearer error="invalid_token"'} if status == 401 else {}
    return as_json(said, status, Proxy_Status=f"PostgREST; error={code}", **more)


def no_api_key() -> Answer:
    """Of the gateway, before PostgREST hears of it."""
    hint = "No `apikey` request header or url param was found."
    return as_json({"message": "No API key found in request", "hint": hint}, 401)


def broken(status: int) -> Answer:
    return as_json({"message": "the stand-in is in trouble"}, status)


def throttled(seconds: int) -> Answer:
    return as_json({"message": "Too many requests"}, 429, Retry_After=str(seconds))
