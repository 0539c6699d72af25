"""docs/backends.md contains the rationale, model files, adding a workflow, and comparing."""

from __future__ import annotations

import pytest
from support.pages import section

from imagen.graphs import ManifestModel, list_workflows

_PAGE = "docs/backends.md"
_FILES = sorted(
    {file for workflow in list_workflows() for file in workflow.manifest.files}, key=str
)


def test_the_page_explains_why_each_engine_has_one_adapter() -> None:
    text = section(_PAGE, "One adapter for each engine, and workflows as data")
    assert "behind one protocol" in text
    assert "two files and no code" in text


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.file)
def test_the_page_lists_each_model_file_with_folder_and_download(file: ManifestModel) -> None:
    row = f"| [`{file.file}`]({file.source}) | {file.folder} | {file.size} |"
    assert row in section(_PAGE, "The bundled models")


@pytest.mark.parametrize("step", ["workflows add", "workflows check", "workflow_dirs", "$<prompt>"])
def test_the_page_shows_how_to_add_a_workflow(step: str) -> None:
    assert step in section(_PAGE, "Adding a workflow")


@pytest.mark.parametrize(
    "word",
    [
        *("--models", "--vary", "--output", "--dry-run", "compare.json", "contact-sheet.png"),
        *("exit code is 4", "share one seed"),
    ],
)
def test_the_page_documents_compare(word: str) -> None:
    text = " ".join(section(_PAGE, "Comparing backends").split())
    assert word in text
