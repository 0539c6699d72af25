"""What a record says of a picture's origin, in one vocabulary whichever tool wrote it."""

from imagen.outputs.provenance.requests import request_of
from imagen.outputs.provenance.telling import Origin, kind_of, models_sent, origin
from imagen.outputs.settings import is_graph

__all__ = ["Origin", "is_graph", "kind_of", "models_sent", "origin", "request_of"]
