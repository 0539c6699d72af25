"""Pools and failover chains are checked when the configuration is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagen.config import load_settings
from imagen.errors import ConfigError

FILE = Path("imagen.yaml")
BACKENDS = "backends: {gpu1: {type: mock}, gpu2: {type: mock}, cloud: {type: mock}}\n"


def refused(text: str) -> list[str]:
    FILE.write_text(BACKENDS + text)
    with pytest.raises(ConfigError) as error:
        load_settings()
    return error.value.message.splitlines()


def test_pools_and_chains_are_read() -> None:
    FILE.write_text(
        f"{BACKENDS}pools: {{sd15: [gpu1, gpu2], far: [gpu8, gpu9]}}\nfailover: [gpu1, cloud]\n"
    )
    settings = load_settings()
    assert settings.members("sd15") == ("gpu1", "gpu2")
    assert settings.failover == (("gpu1", "cloud"),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "pools: {all: [gpu1, clod]}",
            "pools.all[1]: names an unknown backend, 'clod'. Did you mean 'cloud'?",
        ),
        ("pools: {gpu1: [gpu2]}", "pools.gpu1: has the name of a backend"),
        ("pools: {mock: [gpu2]}", "pools.mock: has the name of a backend"),
        ("pools: {all: [gpu1, gpu1]}", "pools.all[1]: names 'gpu1' twice"),
        (
            "pools: {all: [gpu1], more: [all, gpu2]}",
            "pools.more[0]: names the pool 'all'; a pool consists of backends",
        ),
        ("pools: {all: []}", "pools.all: must list at least 1"),
        (
            "failover: [gpu1, clod]",
            "failover[0][1]: names an unknown backend, 'clod'. Did you mean 'cloud'?",
        ),
        (
            "failover: [gpu1, cloud, gpu1]",
            "failover[0][2]: names 'gpu1' twice: a chain must not go back",
        ),
        ("failover: [[gpu1, gpu2], [gpu2, gpu1]]", "failover: leads from 'gpu1' back to it"),
        (
            "pools: {all: [gpu1]}\nfailover: [all, cloud]",
            "failover[0][0]: names the pool 'all'; a chain consists of backends",
        ),
        ("failover: [gpu1]", "failover[0]: must list at least 2"),
    ],
)
def test_wrong_pool_or_chain_is_named_with_its_line(text: str, problem: str) -> None:
    (line,) = refused(text)
    place, _, sentence = line.partition(": ")
    assert sentence.startswith(problem)
    assert place == f"imagen.yaml, line {2 + text.count(chr(10))}"


def test_invalid_backend_hides_no_pool() -> None:
    FILE.write_text("backends: {gpu1: {type: 3}}\npools: {sd15: [gpu1]}\n")
    with pytest.raises(ConfigError) as error:
        load_settings()
    assert len(error.value.problems) == 1
