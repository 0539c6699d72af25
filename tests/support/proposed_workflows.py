"""Proposed workflows for graphs, in short form: the tokens and their places."""

from __future__ import annotations

from typing import Any

from imagen.graphs import Workflow, find_faults
from imagen.graphs.importer.convert import ConvertedGraph
from imagen.graphs.importer.parameters import ProposedWorkflow, propose_parameters
from imagen.graphs.node_catalog import read_catalog
from support.editor_files import CATALOGUE, PORTRAIT

SAVE = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x", "images": ["8", 0]}}


def proposed(graph: dict[str, Any], **more: Any) -> ProposedWorkflow:
    """The proposal for a graph, which must be a valid workflow."""
    about = {name: more.pop(name) for name in ("downloads", "packs") if name in more}
    given = ConvertedGraph(graph=graph, **about)
    proposal = propose_parameters(given, read_catalog(CATALOGUE), title="It", **more)
    assert find_faults(Workflow("it", proposal.graph, proposal.manifest, "it")) == []
    return proposal


def tokens(graph: dict[str, Any]) -> dict[str, list[str]]:
    """The inputs that each token replaces."""
    found: dict[str, list[str]] = {}
    for token in proposed(graph).tokens:
        found.setdefault(token.name, []).append(f"{token.node}.{token.input}")
    return found


def encode(text: str, title: str = "") -> dict[str, Any]:
    """A text encoder node for this text."""
    meta = {"_meta": {"title": title}} if title else {}
    return {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["4", 1]}} | meta


def sampler(**inputs: Any) -> dict[str, Any]:
    """The sampler node of the portrait, with other inputs."""
    return {"class_type": "KSampler", "inputs": PORTRAIT["3"]["inputs"] | inputs}
