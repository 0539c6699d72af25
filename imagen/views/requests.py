"""Requests as clients send them: with images that clients can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema  # noqa: TC002 - pydantic reads the annotation

from imagen.core.request import Control, Request

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

_IMAGE = (
    "`blob:<sha256>/<name>`, as an upload answers; `image:<id>` of the library; or a data URL, "
    "`data:image/png;base64,…`."
)


class ClientControl(Control):
    """One control image, which steers the composition (ControlNet)."""

    image: str = Field(min_length=1, description=_IMAGE)


class ClientRequest(Request):
    """What a client wants. Values that are missing or null are the backend's defaults."""

    template: SkipJsonSchema[None] = None
    model: str | None = Field(
        None, min_length=1, description="The checkpoint, as the backend lists it."
    )
    image: str | None = Field(None, min_length=1, description=f"The initial image: {_IMAGE}")
    mask: str | None = Field(
        None, min_length=1, description=f"Mask image; white areas are repainted: {_IMAGE}"
    )
    references: tuple[str, ...] = Field((), description=f"Reference images (edit): {_IMAGE}")
    controls: tuple[ClientControl, ...] = Field((), description="Control images, in order.")


class _ClientRequestSchema:
    """Describes a value as a `ClientRequest`, which is validated with better sentences later."""

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(ClientRequest.__pydantic_core_schema__)


RequestValues = Annotated[dict[str, Any], _ClientRequestSchema()]
"""The values of a request, by its fields."""
