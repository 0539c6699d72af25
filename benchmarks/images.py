"""Images over HTTP: a page and an index of a library of a million, and thumbnails.

python benchmarks/images.py                      fills a library first, which takes minutes
python benchmarks/images.py --library FILE       one that `library.py --keep FILE` filled

The client is in the same process, so that each figure holds both sides of a connection.
"""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import httpx
from measure import report, within
from million import fill, settings_at
from PIL import Image
from sqlalchemy import insert

from imagen.config import LibrarySettings, OutputSettings, Settings
from imagen.jobs.worker import StopRequest
from imagen.library import Query, open_library, search_images
from imagen.library.schema import thumbnails
from imagen.library.write import make_thumbnail
from imagen.net.listen import ListenAddress, open_sockets
from imagen.runtime import open_runtime
from imagen.server.app import create_app
from imagen.server.listen import serve_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measure import Within

    from imagen.library import Library, LibraryImage

RUNS = 25


@contextmanager
def _serve(settings: Settings) -> Iterator[httpx.Client]:
    with open_runtime(settings, has_worker=False) as runtime:
        sockets = open_sockets(ListenAddress("127.0.0.1", 0))
        stop, is_ready = StopRequest(), threading.Event()
        serve = partial(
            serve_app, create_app(runtime), sockets, settings.server, stop, on_ready=is_ready.set
        )
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        is_ready.wait(30)
        url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}/api/v1/"
        with httpx.Client(base_url=url, timeout=120) as client:
            yield client
        stop.set()
        thread.join(20)


def _get(client: httpx.Client, path: str, **headers: str) -> None:
    client.get(path, headers=headers).raise_for_status()


def _put_thumbnail(library: Library, image: LibraryImage, place: Path) -> None:
    """Give an image the thumbnail that a saved one has."""
    path = place / "fox.png"
    Image.effect_noise((1024, 1024), 80).convert("RGB").save(path)
    with library.writing() as connection:
        connection.execute(thumbnails.delete().where(thumbnails.c.image == image.key))
        row = {"image": image.key, "webp": make_thumbnail(path)}
        connection.execute(insert(thumbnails).values(**row))


def measured(client: httpx.Client, uid: str) -> Iterator[Within]:
    """Everything, in order."""
    for what, path, limit in (
        ("first page of 50 images", "images", 0.015),
        ("first page of 200 images", "images?limit=200", 0.05),
        ("first page with a tag and 4 stars", "images?tag=landscape&rating=4", 0.015),
        ("one image in detail", f"images/{uid}", 0.015),
        ("a thumbnail that was saved with its image", f"images/{uid}/thumbnail", 0.005),
    ):
        yield within(what, partial(_get, client, path), at_most=limit, runs=RUNS)
    counter = count()
    for images, limit in ((100_000, 1.0), (1_000_000, 10.0)):

        def build(images: int = images) -> None:
            """Each time another limit, so that none is the one that was kept."""
            path = f"images/index?limit={images - next(counter)}"
            _get(client, path, **{"Accept-Encoding": "identity"})

        yield within(f"index of {images} images", build, at_most=limit, runs=3)
        kept = partial(_get, client, f"images/index?limit={images}")
        yield within(f"index of {images} images, unchanged", kept, at_most=limit / 10, runs=3)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--library", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        place = Path(folder)
        at = str(arguments.library.absolute() if arguments.library else place / "million.db")
        with open_library(settings_at(at)) as library:
            if not search_images(library, Query(), limit=1).images:
                fill(library, arguments.rows, place)
            (image,) = search_images(library, Query(), limit=1).images
            _put_thumbnail(library, image, place)
        settings = Settings(
            backends={"mock": {"type": "mock"}},
            state_dir=place / "state",
            library=LibrarySettings(url=at),
            output=OutputSettings(directory=place / "out"),
        )
        with _serve(settings) as client:
            claims = list(measured(client, image.uid))
            for number in (100_000, 1_000_000):
                answer = client.get(f"images/index?limit={number}")
                sizes = answer.num_bytes_downloaded / 1e6, len(answer.content) / 1e6
                sys.stdout.write(
                    f"index of {number}: {sizes[1]:.1f} MB, {sizes[0]:.1f} MB with gzip\n"
                )
    report(claims)


if __name__ == "__main__":
    main()
