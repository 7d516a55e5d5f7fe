"""What a callable has in its reach, however it is written."""

from dataclasses import dataclass
from functools import partial, wraps

import pytest

from entropy_core.reach import MAX_DEPTH, MAX_LENGTH, reachable


class Net:
    pass


NET = Net()


def by_global_name(x):
    return NET


def by_a_function_of_the_same_file(x):
    return [by_global_name(value) for value in x]


def inside_of_a_comprehension(x):
    return [(value, NET) for value in x]


def by_default(x, net=NET):
    return net


def by_keyword_default(x, *, net=NET):
    return net


class Holder:
    def __init__(self, net):
        self.net = net

    def model(self, x):
        return self.net

    def __call__(self, x):
        return self.net


@dataclass(frozen=True, slots=True)
class Slotted:
    net: Net

    def __call__(self, x):
        return self.net


def closure(held):
    return lambda x: held


def wrapped(fn):
    @wraps(fn)
    def call(*args):
        return fn(*args)

    return call


CALLABLES = {
    "itself": NET,
    "a global name": by_global_name,
    "a function of the same file": by_a_function_of_the_same_file,
    "a comprehension": inside_of_a_comprehension,
    "a default": by_default,
    "a keyword's default": by_keyword_default,
    "a closure": closure(NET),
    "a closure of a closure": closure(closure(NET)),
    "a dictionary of lists": closure({"nets": [NET]}),
    "a partial": partial(max, NET),
    "a partial by name": partial(max, key=NET),
    "a partial of a partial": partial(partial(max, NET), 1),
    "a method": Holder(NET).model,
    "a method of an object that has an object": Holder(Holder(NET)).model,
    "an object that is called": Holder(NET),
    "a class with slots": Slotted(NET),
    "a decorated function": wrapped(wrapped(Holder(NET).model)),
}


@pytest.mark.parametrize("fn", CALLABLES.values(), ids=CALLABLES)
def test_what_is_in_reach(fn):
    assert list(reachable(fn, Net)) == [NET]


def late():
    def model(x):
        return net

    assert list(reachable(model, Net)) == []
    net = NET
    return model


def test_a_cell_that_is_empty_yet():
    assert list(reachable(late(), Net)) == [NET]


def test_circles_end_and_each_is_found_once():
    holder = Holder([NET, NET])
    holder.net.append(holder)
    assert list(reachable(holder.model, Net)) == [NET]


def test_data_are_not_searched():
    assert list(reachable(closure([NET] * (MAX_LENGTH + 1)), Net)) == []
    deep = NET
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert list(reachable(deep, Net)) == []
    assert list(reachable(deep[0], Net)) == [NET]
    # A class is no net, and what stands in a module is out of reach.
    assert list(reachable(closure([Net, pytest]), Net)) == []
