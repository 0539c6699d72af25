"""Reproduce an image: its request, what differs now, and how similar the result is."""

from imagen.reproduce.drift import (
    Drift,
    ReproductionTarget,
    Similarity,
    compare_graphs,
    detect_drift,
    has_other_model,
    measure_similarity,
    predict_drift,
)
from imagen.reproduce.request import (
    IMPORTED_WORKFLOWS,
    ImageSource,
    Reproduction,
    find_input_places,
    find_source,
    refuse_without_content,
    reproduce_graph,
    reproduce_request,
    reproduce_values,
    with_recorded_graph,
    with_recorded_workflow,
)

__all__ = [
    "IMPORTED_WORKFLOWS",
    "Drift",
    "ImageSource",
    "Reproduction",
    "ReproductionTarget",
    "Similarity",
    "compare_graphs",
    "detect_drift",
    "find_input_places",
    "find_source",
    "has_other_model",
    "measure_similarity",
    "predict_drift",
    "refuse_without_content",
    "reproduce_graph",
    "reproduce_request",
    "reproduce_values",
    "with_recorded_graph",
    "with_recorded_workflow",
]
