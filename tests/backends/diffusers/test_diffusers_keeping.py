"""What is dear to make is made once, used by one at a time, and let go when asked."""

from __future__ import annotations

from threading import Event

import pytest

from imagen.backends.diffusers.keeping import Shelf
from imagen.net.threads import Background


class _Kitchen:
    """Makes things, and notes what was made and how often was cleaned."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.cleaned = 0
        self.shelf: Shelf[str] = Shelf(self.clean)

    def clean(self) -> None:
        self.cleaned += 1

    def use(self, name: str) -> str:
        with self.shelf.using(name, lambda: self.make(name)) as thing:
            return thing

    def make(self, name: str) -> str:
        if name == "burnt":
            raise ValueError(name)
        self.made.append(name)
        return name.upper()


def test_a_thing_is_made_once() -> None:
    kitchen = _Kitchen()
    assert [kitchen.use("soup"), kitchen.use("soup")] == ["SOUP", "SOUP"]
    assert (kitchen.made, kitchen.cleaned) == (["soup"], 0)


def test_another_thing_takes_its_place() -> None:
    kitchen = _Kitchen()
    assert [kitchen.use("soup"), kitchen.use("bread"), kitchen.use("soup")][1] == "BREAD"
    assert (kitchen.made, kitchen.cleaned) == (["soup", "bread", "soup"], 2)


def test_what_was_dropped_is_made_anew() -> None:
    kitchen = _Kitchen()
    kitchen.use("soup")
    kitchen.shelf.drop()
    kitchen.shelf.drop()
    assert kitchen.cleaned == 1
    kitchen.use("soup")
    assert kitchen.made == ["soup", "soup"]


def test_what_is_in_use_is_dropped_afterwards() -> None:
    kitchen = _Kitchen()
    with kitchen.shelf.using("soup", lambda: kitchen.make("soup")):
        assert kitchen.shelf.is_in_use
        kitchen.shelf.drop()
        assert kitchen.cleaned == 0
    assert (kitchen.cleaned, kitchen.shelf.is_in_use) == (1, False)


def test_what_could_not_be_made_leaves_the_place_empty() -> None:
    kitchen = _Kitchen()
    kitchen.use("soup")
    with pytest.raises(ValueError, match="burnt"):
        kitchen.use("burnt")
    assert (kitchen.cleaned, kitchen.use("soup")) == (1, "SOUP")


def test_a_second_user_waits_for_the_first() -> None:
    kitchen, begun = _Kitchen(), Event()

    def eat() -> str:
        begun.set()
        return kitchen.use("bread")

    with kitchen.shelf.using("soup", lambda: kitchen.make("soup")):
        second = Background(eat)
        begun.wait(5)
        assert kitchen.made == ["soup"]
    assert second.ready(5)
    assert (second.result(), kitchen.made) == ("BREAD", ["soup", "bread"])
