"""scripts/mutants.py: the small faults that it inserts into code."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))

import mutants

_CODE = '''
"""A module."""
LIMIT = 3

def f(path: str = "text", *, is_certain=False) -> bool:
    """Sentences stay."""
    if TYPE_CHECKING:
        return 7
    try:
        path.unlink(missing_ok=True)
    except (OSError, ValueError):
        raise Lost("this stays", is_certain=True)
    with suppress(OSError, KeyError):
        self.state = LIMIT < 9 and not path
'''
_HANDLER = 'except (OSError, ValueError): raise Lost("this stays", is_certain=True)'


def test_each_small_fault_is_one_change_of_the_text() -> None:
    path = Path("module.py").absolute()
    path.write_text(_CODE)
    faults = [(one.line, *one.key[2:]) for one in mutants.find_mutants(path, path.parent)]
    caught = "raise Lost('this stays', is_certain=True)"
    assert sorted(faults) == [
        (3, "3", "4"),
        (5, '"text"', "'textx'"),
        (5, "False", "True"),
        (10, "True", "False"),
        (10, "path.unlink(missing_ok=True)", "(path.unlink())"),
        (10, "path.unlink(missing_ok=True)", "pass"),
        (11, _HANDLER, f"except (OSError,): {caught}"),
        (11, _HANDLER, f"except (ValueError,): {caught}"),
        (12, 'raise Lost("this stays", is_certain=True)', "pass"),
        (13, "suppress(OSError, KeyError)", "(suppress(KeyError))"),
        (13, "suppress(OSError, KeyError)", "(suppress(OSError))"),
        (14, "9", "10"),
        (14, "LIMIT < 9", "(LIMIT <= 9)"),
        (14, "LIMIT < 9 and not path", "(LIMIT < 9 or not path)"),
        (14, "LIMIT < 9 and not path", "(LIMIT < 9)"),
        (14, "LIMIT < 9 and not path", "(not path)"),
        (14, "not path", "(path)"),
        (14, "self.state = LIMIT < 9 and not path", "pass"),
    ]


def test_a_constant_is_run_where_it_is_used() -> None:
    path = Path("module.py").absolute()
    path.write_text(_CODE)
    faults = {one.before: one.lines for one in mutants.find_mutants(path, path.parent)}
    assert (sorted(faults["3"]), sorted(faults["LIMIT < 9"])) == ([14], [14])


def test_the_same_seed_chooses_the_same_faults() -> None:
    assert mutants.choose_mutants(7, 5, "file_store") == mutants.choose_mutants(7, 5, "file_store")
    assert mutants.choose_mutants(7, 5, "file_store") != mutants.choose_mutants(8, 5, "file_store")


def test_every_listed_equivalent_fault_still_exists() -> None:
    possible = {one.key for path in mutants.modules() for one in mutants.find_mutants(path)}
    assert mutants.equivalent() - possible == set()
