"""JSON answers that hold whatever the library holds."""

from __future__ import annotations

import json
from typing import Any

from fastapi.responses import JSONResponse

from imagen.core.json_values import json_safe


class AsciiJsonResponse(JSONResponse):
    """JSON in ASCII, because file names and engines' texts may hold what UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        try:
            text = json.dumps(content, allow_nan=False, separators=(",", ":"))
        except ValueError:  # infinities, which JSON does not have
            text = json.dumps(json_safe(content), separators=(",", ":"))
        return text.encode("ascii")
