"""Submit the batches of clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imagen.batch.batch_file import BatchOptions, read_batch
from imagen.batch.keys import find_known_rows
from imagen.batch.prompt_files import PromptTemplate, list_faults, refuse_faults
from imagen.errors import RequestError
from imagen.jobs.submit import RefusedRows, Submission, submit_requests
from imagen.outputs.naming import slugify
from imagen.runtime.client_requests import admit_request, refuse_paths
from imagen.views.batches import SubmittedBatchView

if TYPE_CHECKING:
    from imagen.batch.prompt_files import PromptFormat
    from imagen.core.request import Request
    from imagen.jobs.submit import SubmitOptions
    from imagen.runtime.runtime import Runtime


def submit_client_batch(
    data: bytes,
    format: PromptFormat,
    runtime: Runtime,
    options: SubmitOptions,
    *,
    name: str,
    defaults: Request,
    template: str | None = None,
    is_literal: bool = False,
    is_combinatorial: bool = False,
) -> SubmittedBatchView:
    """Submit the requests of a prompt file of a client; their images get a folder of this name.

    What was submitted before is not made again; what failed is tried again. Raises RequestError
    with everything that is wrong; then nothing is submitted.
    """
    settings = runtime.settings.with_folder(f"batch-{slugify(name)}")
    reading = BatchOptions(
        settings=settings,
        backend=options.backend,
        defaults=defaults,
        template=None if template is None else PromptTemplate(template),
        is_literal=is_literal,
        is_combinatorial=is_combinatorial,
        admit=lambda request: admit_request(request, runtime),
        salt=options.caller,
    )
    found, faults = read_batch(data, name, format, reading)
    refuse_faults(faults)
    rows = [one.row for one in found]
    for row in rows:  # wildcards may have written what no client may name
        refuse_paths(row.request)
    known = find_known_rows(rows, runtime.store)
    submission = Submission(id="", ids=[], jobs=0)
    if new := [rows[number]._replace(key=key) for number, key in known.new.items()]:
        try:
            submission = submit_requests(
                new,
                settings,
                options,
                kind="batch",
                name=f"{name}: {len(rows)} requests",
                store=runtime.store,
            )
        except RefusedRows as refused:
            places = [found[number].place for number in known.new]
            wrong = [(places[row], error.message) for row, error in refused.rows]
            raise RequestError("\n".join(list_faults(wrong)), remedy=refused.remedy) from refused
    for id in known.ended.values():
        runtime.store.retry(id)
    return SubmittedBatchView.of_rows(submission, known, len(rows))
