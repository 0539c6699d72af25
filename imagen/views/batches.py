"""Batches as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from imagen.views.jobs import SubmissionView

if TYPE_CHECKING:
    from imagen.batch.keys import KnownRows
    from imagen.jobs.submit import Submission


class SubmittedBatchView(SubmissionView):
    """A batch that was submitted; what was submitted before is not submitted again."""

    requests: int = Field(description="How many requests the batch holds.")
    done_earlier: int = Field(description="Requests whose images are there already.")
    waiting: int = Field(description="Requests that were submitted before, and have not ended.")
    retried: int = Field(description="Requests that had failed, and are tried again.")
    lost: tuple[str, ...] = Field(description="Jobs that may have run; retry them to run again.")

    @classmethod
    def of_rows(cls, submission: Submission, known: KnownRows, requests: int) -> SubmittedBatchView:
        """What was submitted, and what was known of so many requests."""
        return cls(
            job=submission.id or None,
            jobs=(*submission.ids, *known.waiting.values(), *known.ended.values()),
            warnings=tuple(submission.warnings),
            requests=requests,
            done_earlier=len(known.done),
            waiting=len(known.waiting),
            retried=len(known.ended),
            lost=tuple(known.lost.values()),
        )
