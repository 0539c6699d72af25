"""LoRAs and control pictures of a request, as the surgery of a graph wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagen.backends.comfyui.capabilities import CONTROL
from imagen.core.capabilities import ParameterOutcome
from imagen.core.text import did_you_mean
from imagen.errors import RequestError
from imagen.graphs.edits import ControlNetUse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from imagen.core.capabilities import Parameter, Receipt
    from imagen.core.request import Control
    from imagen.graphs import ControlNet

_PATCH = "model_patches"
_NONE = "a strength of 0 is none"


def working(asked: Sequence[Any], name: str, receipt: Receipt) -> tuple[Any, ...]:
    """Those LoRAs or control pictures whose strength is not 0; the receipt tells of the others."""
    used = tuple(one for one in asked if one.strength)
    if len(used) < len(asked):
        receipt[name] = ParameterOutcome(
            outcome="mapped", asked=list(asked), used=list(used), why=_NONE
        )
    return used


def nets(
    controls: Sequence[Control],
    known: Mapping[str, ControlNet],
    upload: Callable[[str, str], str],
    receipt: Receipt,
) -> list[ControlNetUse]:
    """Each control picture with the net of its kind; `upload` gives a file's name in the graph.

    Raises RequestError for a kind that has no net. A net that patches the model works at all steps,
    and the receipt says so where that is not what was asked.
    """
    found = [_net(c, n, known, upload) for n, c in enumerate(controls)]
    whole = [net.kind for net in found if net.patches_model and (net.start, net.end) != (0, 1)]
    if whole:
        why = f"the net of {', '.join(whole)} works at all steps"
        used = [c.model_copy(update={"start": 0.0, "end": 1.0}) for c in controls]
        receipt["controls"] = ParameterOutcome(
            outcome="mapped", asked=list(controls), used=used, why=why
        )
    return found


def own_control(
    controls: Sequence[Control],
    parameters: Mapping[str, Parameter],
    upload: Callable[[str, str], str],
    receipt: Receipt,
) -> dict[str, Any]:
    """Values for the tokens of a workflow with a control net of its own.

    Raises RequestError for more pictures than one.
    """
    if len(controls) > 1:
        raise RequestError(f"controls: this workflow takes one picture, not {len(controls)}.")
    (control,) = controls
    values = {
        CONTROL: upload(control.image, "controls.0"),
        "control_strength": control.strength,
        "control_start": control.start,
        "control_end": control.end,
    }
    taken = {name: value for name, value in values.items() if name in parameters}
    why = "the workflow has a control net of its own"
    receipt["controls"] = ParameterOutcome(
        outcome="mapped", asked=list(controls), used=[*taken], why=why
    )
    return taken


def _net(
    control: Control,
    number: int,
    known: Mapping[str, ControlNet],
    upload: Callable[[str, str], str],
) -> ControlNetUse:
    net = known.get(control.kind)
    if net is None:
        raise RequestError(
            f"This backend has no control of kind {control.kind!r}."
            + did_you_mean(control.kind, known),
            remedy=f"It has: {', '.join(known)}.",
        )
    return ControlNetUse(
        kind=control.kind,
        file=net.file,
        image=upload(control.image, f"controls.{number}"),
        strength=control.strength,
        start=control.start,
        end=control.end,
        union=net.union,
        patches_model=net.folder == _PATCH,
    )
