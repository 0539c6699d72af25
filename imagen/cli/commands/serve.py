"""imagen serve: serve the HTTP API."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from imagen.cli.command_table import Command, usage_error
from imagen.cli.completers import complete_backends_and_pools
from imagen.cli.options import config_option, settings_from_options
from imagen.cli.parsing import FILE
from imagen.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from imagen.config import Settings
    from imagen.jobs.worker import WorkerEvent
    from imagen.jobs.worker_log import LogFormat
    from imagen.library import Library
    from imagen.net.listen import ListenAddress

_SHORTEST_SECRET = 16


@click.command(cls=Command)
@click.option(
    "--addr", "address", metavar="HOST:PORT", help="Where to listen; `:8080` is every interface."
)
@click.option("--host", metavar="HOST", help="The host of --addr.")
@click.option("--port", type=click.IntRange(0, 65535), metavar="N", help="The port of --addr.")
@click.option(
    "--model",
    "-m",
    shell_complete=complete_backends_and_pools,
    metavar="NAME",
    help="The backend, pool or checkpoint of requests that name none.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open the server in the browser.")
@click.option("--worker/--no-worker", default=None, help="Whether to run the jobs of the queue.")
@click.option(
    "--token",
    metavar="TOKEN",
    help="Require this token of all clients; IMAGEN_TOKEN or the file IMAGEN_TOKEN_FILE is safer.",
)
@click.option("--tls-cert", type=FILE, metavar="FILE", help="The certificate chain for TLS, PEM.")
@click.option("--tls-key", type=FILE, metavar="FILE", help="The key of the certificate, PEM.")
@click.option("--base-path", metavar="PATH", help="The path below which a proxy serves it.")
@click.option(
    "--log",
    type=click.Choice(["text", "json"]),
    help="Log requests and jobs to stderr, without prompts.",
)
@config_option
def serve(
    address: str | None,
    host: str | None,
    port: int | None,
    model: str | None,
    is_opened: bool,
    worker: bool | None,
    token: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    base_path: str | None,
    log: LogFormat | None,
    config_path: Path | None,
) -> None:
    """Serve the HTTP API until Ctrl-C.

    Only this machine can connect, unless --addr says otherwise: then clients need a token, which
    the first start on a terminal creates. Jobs are those of `imagen jobs`; the server runs them,
    as `imagen worker` does. Ctrl-C or SIGTERM ends it within 10 seconds: jobs at servers and
    services go on there.
    """
    if address is not None and (host is not None or port is not None):
        raise usage_error("--addr includes what --host and --port say. Use one of them.")
    given = {
        "worker": worker,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "base_path": base_path,
        "log": log,
    }
    settings = apply_options(settings_from_options(config_path), given, model)
    from imagen.net.listen import parse_address

    where = parse_address(address or settings.server.address)
    where = where._replace(
        host=where.host if host is None else host.strip("[]"),
        port=where.port if port is None else port,
    )
    run_server(settings, where, token, is_opened=is_opened)


def run_server(
    settings: Settings, where: ListenAddress, token: str | None = None, *, is_opened: bool
) -> None:
    """Serve until a signal; raises MissingDependency, and ConfigError if it cannot start.

    All clients need the token, or by default that of the environment if it has one.
    """
    gc.disable()  # what is imported stays: to look for garbage in it takes a sixth of the time
    try:
        _run(settings, where, _read_secret(token), is_opened=is_opened)
    finally:
        gc.enable()


def _run(settings: Settings, where: ListenAddress, secret: str, *, is_opened: bool) -> None:
    try:
        from imagen.server.app import create_app
        from imagen.server.listen import serve_app
        from imagen.server.routes.page import is_built
    except ModuleNotFoundError as error:
        from imagen.errors import MissingDependency

        raise MissingDependency(error.name or "fastapi", "serve", purpose="serving") from error
    from imagen.jobs.worker import stop_on_signals
    from imagen.net.listen import open_sockets
    from imagen.runtime import open_runtime

    with ExitStack() as stack:
        stop = stack.enter_context(stop_on_signals())
        sockets = open_sockets(where)
        for one in sockets:
            stack.callback(one.close)
        where = where._replace(port=sockets[0].getsockname()[1])
        runtime = stack.enter_context(
            open_runtime(
                settings,
                has_worker=settings.server.worker,
                on_event=_listener(settings.server.log),
                stop=stop,
            )
        )
        scheme = "http" if settings.server.tls_cert is None else "https"
        url = where.url(scheme) + settings.server.base_path
        fragment = ""
        if where.is_public and not secret:
            fragment = _require_token(runtime.library)

        def announce() -> None:
            echo(f"Listening on {url}")
            sys.stdout.flush()
            if not is_built() and sys.stderr.isatty():
                echo(
                    "The page was not built. In a copy of the repository, build it with: "
                    "python scripts/build_web.py",
                    err=True,
                )
            if where.is_public:
                elsewhere = where.lan_url(scheme) + settings.server.base_path
                _invite(f"{elsewhere}/{fragment}", is_new=bool(fragment))
            if is_opened:
                import webbrowser

                webbrowser.open(f"{url}/{fragment}")

        app = create_app(runtime, is_public=where.is_public, secret=secret, log=settings.server.log)
        gc.freeze()
        gc.enable()
        serve_app(app, sockets, settings.server, stop, on_ready=announce)


def apply_options(settings: Settings, given: Mapping[str, object], model: str | None) -> Settings:
    """The settings with what the options say. Raises UsageError."""
    from pydantic import ValidationError

    from imagen.backends import available
    from imagen.config import ServerSettings
    from imagen.core.validation import problems

    values = {name: value for name, value in given.items() if value is not None}
    known = {*available(settings.backends), *settings.pools}
    if model is not None:
        backend, _, rest = model.partition("/")
        if model in known:
            values |= {"backend": model, "model": None}
        elif rest and backend in known:
            values |= {"backend": backend, "model": rest}
        else:
            values |= {"model": model}
    try:
        server = ServerSettings.model_validate(settings.server.model_dump() | values)
    except ValidationError as error:
        faults = (problem.sentence for problem in problems(error, model=ServerSettings))
        raise usage_error("; ".join(faults)) from error
    return settings.model_copy(update={"server": server})


def _read_secret(token: str | None) -> str:
    """The token that this process requires, of the option or the environment; empty for none.

    Raises ConfigError for one that is too short or cannot be sent.
    """
    from pathlib import Path

    from imagen.errors import ConfigError

    where, secret = "--token", token
    if secret is None:  # the programs that engines start do not get it
        where, secret = "IMAGEN_TOKEN", os.environ.pop("IMAGEN_TOKEN", None) or None
    if secret is None:
        where, file = "IMAGEN_TOKEN_FILE", os.environ.get("IMAGEN_TOKEN_FILE", "")
        if not file:
            return ""
        try:
            secret = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise ConfigError(f"{where}: {file} cannot be read: {reason}.") from error
    is_plain = secret.isascii() and secret.isprintable() and " " not in secret
    if not is_plain or len(secret) < _SHORTEST_SECRET:
        raise ConfigError(
            f"{where} is not a safe token: expected at least {_SHORTEST_SECRET} letters, digits "
            "and signs.",
            remedy="Make one with: openssl rand -hex 32",
        )
    return secret


def _listener(log: LogFormat | None) -> Callable[[WorkerEvent], None]:
    """What is called with the events of the worker. That it cannot run is said in any case."""
    if log is not None:
        from imagen.jobs.worker_log import WorkerLog

        return WorkerLog(log)

    def report(event: WorkerEvent) -> None:
        if event.kind == "failed_worker":
            echo(f"No jobs are run here: {event.message}", err=True)

    return report


def _require_token(library: Library) -> str:
    """Make sure that there is a token for clients elsewhere.

    On a terminal the first one is created: then this is the fragment of a URL that has it. Raises
    ConfigError.
    """
    from imagen.library.tokens import add_token, list_tokens
    from imagen.runtime.caller import SCOPES

    if list_tokens(library):
        return ""
    if not sys.stderr.isatty():
        from imagen.errors import ConfigError

        raise ConfigError(
            "Other machines can reach this address, so clients need a token, but none exists yet.",
            remedy="Create one with: imagen tokens add NAME\nOr set IMAGEN_TOKEN or "
            "IMAGEN_TOKEN_FILE.",
        )
    return f"#token={add_token(library, 'first', SCOPES)}"


def _invite(url: str, *, is_new: bool) -> None:
    """Say on the terminal how other machines connect."""
    if not sys.stderr.isatty():
        return
    if not is_new:
        echo(f"From other machines: {url}", err=True)
        echo("They need a token. Create one with: imagen tokens add NAME", err=True)
        return
    import segno

    echo("From other machines, with a token that is shown this once:", err=True)
    click.echo(url, err=True)
    segno.make(url, error="l").terminal(sys.stderr, compact=True)
