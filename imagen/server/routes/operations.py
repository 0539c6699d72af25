"""Operations on images that need no engine: rotate, scale, blur, sharpen, composite, convert."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from pydantic import Field, JsonValue

from imagen.outputs.operations import OPERATIONS, OutputFormat
from imagen.runtime.image_operations import run_operation
from imagen.server.state import CallerOf, RuntimeOf
from imagen.views.base import View
from imagen.views.uploads import ChangedImageView, OperationsView, OperationView

router = APIRouter(tags=["operations"])


class OperationBody(View):
    """An image and what to do with it."""

    image: str = Field(
        min_length=1,
        description="`blob:<sha256>/<name>`, as an upload or an operation answers; `image:<id>` of "
        "the library; or a data URL.",
    )
    parameters: dict[str, JsonValue] = Field(
        default_factory=dict, description="As `GET /operations` describes them."
    )
    format: OutputFormat | None = Field(None, description="By default that of the image.")
    quality: int | None = Field(None, ge=1, le=100, description="Of JPEG and WebP.")
    save: bool = Field(
        False, description="Also write it to the output folder, and add it to the library."
    )


@router.get("/operations")
def list_operations() -> OperationsView:
    """List the operations, and the parameters of each as a JSON Schema."""
    return OperationsView(
        operations=tuple(
            OperationView(
                name=name,
                label=kind.label,
                description=str(kind.__doc__),
                parameters=kind.model_json_schema(),
            )
            for name, kind in OPERATIONS.items()
        )
    )


@router.post("/operations/{name}")
async def change_image_file(
    name: str, body: OperationBody, runtime: RuntimeOf, caller: CallerOf
) -> ChangedImageView:
    """Apply an operation to an image. The result is stored like an upload; the image stays."""
    return await asyncio.get_running_loop().run_in_executor(
        runtime.image_pool,
        lambda: run_operation(
            name,
            body.image,
            body.parameters,
            runtime,
            caller,
            format=body.format,
            quality=body.quality,
            is_saved=body.save,
        ),
    )
