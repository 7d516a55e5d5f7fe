"""A graph of the host's operations made shorter, with the same numbers bit for bit."""

from collections.abc import Callable
from operator import getitem
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node

ATEN = torch.ops.aten

# The same operations under names that Python calls faster.
FAST: dict[Any, Callable] = {
    ATEN.add.Tensor: torch.add,
    ATEN.addmm.default: torch.addmm,
    ATEN.bmm.default: torch.bmm,
    ATEN.clamp_min.default: torch.clamp_min,
    ATEN.div.Tensor: torch.div,
    ATEN.exp.default: torch.exp,
    ATEN.expand.default: Tensor.expand,
    ATEN.log.default: torch.log,
    ATEN.log1p.default: torch.log1p,
    ATEN.mm.default: torch.mm,
    ATEN.mul.Scalar: torch.mul,
    ATEN.mul.Tensor: torch.mul,
    ATEN.neg.default: torch.neg,
    ATEN.pow.Tensor_Scalar: torch.pow,
    ATEN.relu.default: torch.relu,
    ATEN.rsub.Scalar: torch.rsub,
    ATEN.select.int: torch.select,
    ATEN.sigmoid.default: torch.sigmoid,
    ATEN.sub.Tensor: torch.sub,
    ATEN.sum.default: torch.sum,
    ATEN.sum.dim_IntList: torch.sum,
    ATEN.t.default: torch.t,
    ATEN.tanh.default: torch.tanh,
    ATEN.unsqueeze.default: torch.unsqueeze,
    ATEN.view.default: Tensor.view,
}
# Those among them that write what they compute into memory of their own.
VIEWS = {Tensor.expand, torch.select, torch.t, torch.unsqueeze, Tensor.view}
FRESH = set(FAST.values()) - VIEWS
# Those that can write it into an argument's.
INTO = {
    torch.add,
    torch.div,
    torch.exp,
    torch.log,
    torch.mul,
    torch.neg,
    torch.pow,
    torch.sigmoid,
    torch.sub,
    torch.tanh,
}
NEUTRAL: dict[Any, int] = {
    ATEN.mul.Tensor: 1,
    ATEN.div.Tensor: 1,
    ATEN.add.Tensor: 0,
    ATEN.sub.Tensor: 0,
}
SHAPES = (ATEN.view.default, ATEN.expand.default)
# Views of all of a tensor, where nothing else is one of it.
WHOLE = {Tensor.view, ATEN.split.Tensor, getitem}


def simplify(graph: Graph) -> None:
    """Takes out what changes nothing, what was computed before, and what nothing is made of."""
    for node in list(graph.nodes):
        # Nothing in a graph has gradients any more.
        if node.target is ATEN.detach.default:
            _replace(graph, node, node.args[0])
    graph.eliminate_dead_code(_has_effect)
    if _writes_only_into_new(graph):
        written = {node.args[0] for node in graph.nodes if _writes(node)}
        for node in list(graph.nodes):
            if node not in written and _changes_nothing(node):
                _replace(graph, node, node.args[0])
        _share(graph, written)
        graph.eliminate_dead_code(_has_effect)
    for node in graph.nodes:
        # `alpha=` and the like are other operations under these names.
        if node.target in FAST and not node.kwargs:
            node.target = FAST[node.target]


def split_draws(module: GraphModule) -> tuple[GraphModule, GraphModule] | None:
    """A graph in two: what no draw goes into, whose outputs the rest takes beside the inputs.

    Returns:
        `None` where it writes into what is not its own.
    """
    graph = module.graph
    if not _writes_only_into_new(graph):
        return None
    drawn: set[Node] = set()
    for node in graph.nodes:
        inputs = node.all_input_nodes
        made = node.op == "call_function" and (not inputs or _has_effect(node) or _writes(node))
        if made or node.op == "output" or drawn.intersection(inputs):
            drawn.add(node)
    shared = [
        node
        for node in graph.nodes
        if node.op == "call_function" and node not in drawn and drawn.intersection(node.users)
    ]
    first, rest = Graph(), Graph()
    in_first: dict[Node, Node] = {}
    in_rest: dict[Node, Node] = {}
    for node in graph.find_nodes(op="placeholder"):
        in_first[node] = first.node_copy(node)
        in_rest[node] = rest.node_copy(node)
    in_rest |= {node: rest.placeholder(node.name) for node in shared}
    for node in graph.nodes:
        if node not in drawn and node not in in_first:
            in_first[node] = first.node_copy(node, in_first.__getitem__)
        if node in drawn or node.op == "get_attr":
            in_rest[node] = rest.node_copy(node, in_rest.__getitem__)
    first.output([in_first[node] for node in shared])
    for part in (first, rest):
        part.eliminate_dead_code(_has_effect)
    return GraphModule(module, first), GraphModule(module, rest)


def write_in_place(graph: Graph) -> None:
    """Lets operations write into the memory of an argument that nothing else is made of.

    The numbers are the same; less memory is taken and gone through.
    """
    for node in graph.nodes:
        relu = node.target is torch.relu
        if node.op != "call_function" or node.kwargs or not (relu or node.target in INTO):
            continue
        for argument in node.args[:1] if relu else node.args:
            if isinstance(argument, Node) and _can_write(node, argument):
                if relu:
                    node.target = torch.relu_
                else:
                    node.kwargs = {"out": argument}
                break


def _can_write(node: Node, argument: Node) -> bool:
    before, after = argument.meta.get("val"), node.meta.get("val")
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    layouts = [(t.shape, t.stride(), t.dtype, t.device) for t in (before, after)]
    if layouts[0] != layouts[1]:
        return False
    while len(argument.users) == 1:
        if argument.target in WHOLE and isinstance(argument.args[0], Node):
            argument = argument.args[0]
        else:
            # What is in place already has taken over memory that was its own.
            fresh = argument.target in FRESH and argument.kwargs.keys() <= {"out"}
            return fresh or argument.target is torch.relu_
    return False


def _share(graph: Graph, written: set[Any]) -> None:
    """Computes once what is computed twice."""
    known: dict[Any, Node] = {}
    for node in list(graph.nodes):
        makes = node.op == "call_function" and node.all_input_nodes
        if node.op != "get_attr" and not (makes and node not in written and not _has_effect(node)):
            continue
        try:
            key = node.target, _frozen(node.args), _frozen(node.kwargs)
            first = known.setdefault(key, node)
        except TypeError:
            continue
        if first is not node:
            _replace(graph, node, first)


def _changes_nothing(node: Node) -> bool:
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], Node):
        return False
    before, after = node.args[0].meta.get("val"), node.meta.get("val")
    if not isinstance(before, Tensor) or not isinstance(after, Tensor):
        return False
    same = (before.shape, before.dtype) == (after.shape, after.dtype)
    if node.target in SHAPES:
        return same
    number = node.args[1] if len(node.args) == 2 and not node.kwargs else None
    plain = isinstance(number, int | float) and number == NEUTRAL.get(node.target)
    return plain and same and before.is_floating_point()


def _writes_only_into_new(graph: Graph) -> bool:
    """Whether all that is written into was made for that, as the draws of a generator are."""
    targets = [node.args[0] for node in graph.nodes if _writes(node)]
    return all(
        isinstance(target, Node)
        and target.op == "call_function"
        and not target.all_input_nodes
        and len(target.users) == 1
        for target in targets
    )


def _writes(node: Node) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def _has_effect(node: Node) -> bool:
    # An operation that draws moves the generator, whether its draw is used or not.
    drawn = torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())
    return drawn or node.is_impure()


def _replace(graph: Graph, node: Node, other: Any) -> None:
    node.replace_all_uses_with(other)
    graph.erase_node(node)


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_frozen, value))
    if isinstance(value, dict):
        return tuple((key, _frozen(part)) for key, part in value.items())
    # 1 and 1.0 and True are equal and not the same.
    return value if isinstance(value, Node) else (type(value), value)
