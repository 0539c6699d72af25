"""Making a picture again: the request it was made by, and what is no longer as it was then."""

from imagen.reproduce.drift import Chosen, foreseen, is_other_model
from imagen.reproduce.drifts import Drift
from imagen.reproduce.ending import Likeness, likeness, seen
from imagen.reproduce.graphs import workflow_drift
from imagen.reproduce.own_graph import IMPORTED, with_its_workflow, with_own_graph
from imagen.reproduce.request import Remake, of_its_graph, refuse_untold, remade, values_again
from imagen.reproduce.sources import Found, other_places, source_of

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
