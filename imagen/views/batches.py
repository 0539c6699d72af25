"""Batches as JSON."""

from __future__ import annotations

from pydantic import Field

from imagen.views.jobs import SubmissionView


class SubmittedBatchView(SubmissionView):
    """A batch that was submitted; what was submitted before is not submitted again."""

    requests: int = Field(description="How many requests the batch holds.")
    done_earlier: int = Field(description="Requests whose images are there already.")
    waiting: int = Field(description="Requests that were submitted before, and have not ended.")
    retried: int = Field(description="Requests that had failed, and are tried again.")
    lost: tuple[str, ...] = Field(description="Jobs that may have run; retry them to run again.")
