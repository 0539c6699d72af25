"""Making a picture again: the request it was made by, and what is no longer as it was then."""

from imagen.again.drifting import Chosen, foreseen, is_other_model
from imagen.again.drifts import Drift
from imagen.again.ending import Likeness, likeness, seen
from imagen.again.graphs import workflow_drift
from imagen.again.own_graph import IMPORTED, with_its_workflow, with_own_graph
from imagen.again.remaking import Remake, of_its_graph, refuse_untold, remade, values_again
from imagen.again.sources import Found, other_places, source_of

__all__ = [
    "IMPORTED",
    "Chosen",
    "Drift",
    "Found",
    "Likeness",
    "Remake",
    "foreseen",
    "is_other_model",
    "likeness",
    "of_its_graph",
    "other_places",
    "refuse_untold",
    "remade",
    "seen",
    "source_of",
    "values_again",
    "with_its_workflow",
    "with_own_graph",
    "workflow_drift",
]
