"""What a record says of a picture's origin, in one vocabulary whichever tool wrote it."""

from imagen.outputs.metadata.json_settings import is_graph
from imagen.outputs.provenance.requests import request_from_values
from imagen.outputs.provenance.telling import Provenance, backend_kind, origin, sent_models

__all__ = ["Provenance", "backend_kind", "is_graph", "origin", "request_from_values", "sent_models"]
