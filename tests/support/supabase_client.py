"""What speaks to a simulated Supabase in its tests: as the service, or as a stranger."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
from simulators.supabase import BUCKET, SERVICE_KEY

if TYPE_CHECKING:
    from simulators.supabase import Supabase

BEARER = {"Authorization": f"Bearer {SERVICE_KEY}", "apikey": SERVICE_KEY}
PNG = {"Content-Type": "image/png"}
ROW = {
    "id": "11111111-2222-4333-8444-555555555555",
    "owner_user_id": "99999999-8888-4777-8666-555555555555",
    "bucket": BUCKET,
    "path": "a.png",
    "backend": "studio",
}


def service(cloud: Supabase) -> httpx.Client:
    """A client with the service key."""
    return httpx.Client(base_url=cloud.url, headers=BEARER, trust_env=False)


def stranger(cloud: Supabase, token: str = "") -> httpx.Client:
    """A client with another key, or without any."""
    headers = {"Authorization": f"Bearer {token}", "apikey": token} if token else {}
    return httpx.Client(base_url=cloud.url, headers=headers, trust_env=False)


def upload(http: httpx.Client, path: str = "a.png", **headers: str) -> httpx.Response:
    """Three bytes to this path."""
    place = f"/storage/v1/object/{BUCKET}/{path}"
    return http.post(place, content=b"png", headers=PNG | headers)


def insert(http: httpx.Client, row: Any, **more: Any) -> httpx.Response:
    """A row into imagen.images."""
    headers = {"Content-Profile": "imagen", **more.pop("headers", {})}
    return http.post("/rest/v1/images", json=row, headers=headers, **more)


def said(answer: httpx.Response) -> tuple[int, str, str, str, str]:
    """A refusal of Storage: the status outside, and all of the body."""
    told = answer.json()
    hidden = told["statusCode"], told["error"], told["message"], told["code"]
    return (answer.status_code, *hidden)
