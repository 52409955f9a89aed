"""What an entry of a library must hold so that a rule can speak of it: looks at its definitions.

Each is given the trees of a function or class that has the rule's first needles, and of all that it uses
in its file. See `relevance`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from .needles import OPTIMIZER
from .traits import LAYERS, Traits, all_traits, drops, walks

Trees = Sequence[ast.AST]
_TRAINS = re.compile(
    "|".join(word.decode() for word in OPTIMIZER if word.isalpha()) + "|^(?:optim|backward|step)$|Trainer$"
)
_PLACES = frozenset({"cuda", "to", "device", "device_map", "set_default_device", "type", "getattr"})
_TYPES = frozenset(
    {"half", "float16", "bfloat16", "float64", "double", "float", "dtype", "torch_dtype", "type", "getattr"}
    | {"numpy", "np", "from_numpy", "as_tensor", "set_default_dtype", "to"}
)
_EVERYWHERE = frozenset({"__init__", "forward", "__call__"})


def walked(trees: Trees) -> bool:
    """Whether something may be attached in a loop over modules."""
    return any(walks(traits) for traits in all_traits(trees))


def attached(trees: Trees) -> bool:
    """Whether something may be put into a model that was made elsewhere."""
    return any(traits.attaches or traits.outside for traits in all_traits(trees))


def adapted(trees: Trees) -> bool:
    """Whether two matrices are made, which is what an adapter needs, or something is out of sight."""
    return _adapted(all_traits(trees))


def _adapted(found: list[Traits]) -> bool:
    if any(traits.outside for traits in found):
        return True
    own = set[str]().union(*(traits.defined for traits in found))
    made = sum(traits.layers for traits in found)
    made += sum(LAYERS.search(base) is not None for traits in found for base in traits.bases - own)
    if made < 2 and any(not traits.words.isdisjoint({"requires_grad", "requires_grad_"}) for traits in found):
        made += sum(traits.factories for traits in found)
    if made != 1:
        return made > 1
    # One is written, perhaps in what is called more than once.
    makers = set[str]().union(*(traits.defined for traits in found if traits.layers or traits.factories))
    return any(
        sum(traits.called.get(name, 0) for traits in found) > 1
        or any(name in traits.bases for traits in found)
        for name in makers - _EVERYWHERE
    )


def listed(trees: Trees) -> bool:
    """Whether two matrices are made, and a list or dict becomes an attribute."""
    found = all_traits(trees)
    if not _adapted(found):
        return False
    own = set[str]().union(*(traits.defined for traits in found))
    own.add("__init__")  # of a base in another file
    functions = set[str]().union(*(traits.functions for traits in found))
    lists = set[str]().union(*(traits.lists for traits in found))
    return any(
        traits.keeps_list
        or "setattr" in traits.called
        or not lists.isdisjoint(traits.stored_names)
        or not traits.results.isdisjoint(functions)
        or not traits.given_lists.isdisjoint(own)
        or any(name in own and not given.isdisjoint(lists) for name, given in traits.given.items())
        for traits in found
    )


def idle(trees: Trees) -> bool:
    """Whether two matrices are made, and something that is made may take part in nothing."""
    found = all_traits(trees)
    if not _adapted(found):
        return False
    if any(traits.attaches or traits.outside for traits in found) or training(trees):
        return True
    read = set[str]().union(*(traits.read for traits in found))
    own = set[str]().union(*(traits.defined for traits in found))
    classes = own.difference(*(traits.functions for traits in found))
    made = {
        name
        for traits in found
        for name, makers in traits.made.items()
        if any(name in own or name[:1].isupper() for name in makers)
    }
    given = any(
        name in own and any(one in made or one in own or one[:1].isupper() for one in arguments)
        for traits in found
        for name, arguments in traits.given.items()
    )
    return any(
        any(
            attribute not in read and any(name in own or name[:1].isupper() for name in makers)
            for attribute, makers in traits.stored.items()
        )
        or any(
            (given or name in made) and not attributes <= read
            for name, attributes in traits.stored_names.items()
        )
        or drops(traits, classes)
        for traits in found
    )


def inert(trees: Trees) -> bool:
    """Whether two matrices are made, and something is zero or rounded down."""
    found = all_traits(trees)
    return any(traits.filled for traits in found) and _adapted(found)


def training(trees: Trees) -> bool:
    """Whether something is trained."""
    return any(traits.trains(_TRAINS) for traits in all_traits(trees))


def made_and_moved(trees: Trees) -> bool:
    """Whether something is moved as soon as it is made."""
    return any(traits.moves for traits in all_traits(trees))


def placed(trees: Trees) -> bool:
    """Whether something is put on a device."""
    return any(not traits.words.isdisjoint(_PLACES) for traits in all_traits(trees))


def typed(trees: Trees) -> bool:
    """Whether something is given a dtype."""
    return any(not traits.words.isdisjoint(_TYPES) for traits in all_traits(trees))


def asked(trees: Trees) -> bool:
    """Whether something is asked for its device or dtype."""
    return any(traits.asks for traits in all_traits(trees))


def sized(trees: Trees) -> bool:
    """Whether the shape of a layer's weight is read."""
    found = all_traits(trees)
    return any(traits.shaped for traits in found) or (
        any(traits.weights for traits in found) and any(traits.sizes for traits in found)
    )


def loaded(trees: Trees) -> bool:
    """Whether a model of a known family may be made, into which something is put."""
    own = {node.name for node in trees if isinstance(node, ast.ClassDef)}
    return attached(trees) and any(
        name in {"from_pretrained", "from_config"}
        or (("Model" in name or "ForCausalLM" in name) and name not in own)
        for traits in all_traits(trees)
        for name in traits.called
    )


def discarded(trees: Trees) -> bool:
    """Whether a conversion stands as a statement by itself."""
    return any(traits.discards for traits in all_traits(trees))


def parametric(trees: Trees) -> bool:
    """Whether a parameter is made that is no attribute at once, or an attribute that is one is set again."""
    found = all_traits(trees)
    if any(traits.loose for traits in found) or any("requires_grad" in traits.words for traits in found):
        return True
    kept = set[str]().union(*(traits.parameters for traits in found))
    return any(not traits.assigned.isdisjoint(kept) for traits in found) or (
        bool(kept) and any("setattr" in traits.called for traits in found)
    )
