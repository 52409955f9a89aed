"""Changing a model while walking over it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Event, Guard, Modules
from qalint.analysis.modules.gates import walks
from qalint.analysis.modules.subjects import walked
from qalint.analysis.modules.values import Mod, Unknown, Walk
from qalint.rule import Finding, Fix, Related, Rule, Severity


class InjectionWhileIterating(Rule):
    """A module gets a child while an unlisted walk is still to enter it.

    ## What it does
    Finds walks over `named_modules()` or `modules()` without `list(...)`, in which the very module that
    the walk has just yielded gets a new child, or one of its children is wrapped, so that the walk
    goes on into what was just made and meets there what it looks for.

    ## Why is this bad?
    The walk is a generator: after it yields a module it goes on into that module's children, new ones
    included. An adapter made of `nn.Linear` layers is then itself found to be a layer to adapt, and so
    is the adapter's adapter: the injection runs away. Replacing the yielded module through its parent
    is harmless.

    ## Example
    ```python
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear):
            layer.adapter = Adapter(layer.in_features, layer.out_features)
    ```

    ## Use instead
    ```python
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear):
            layer.adapter = Adapter(layer.in_features, layer.out_features)
    ```

    ## Fix safety
    The fix makes a list of the walk first. It is safe: the modules that were there are walked over, and
    nothing else.

    ## References
    - [torch.nn.Module.named_modules](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html)

    ## Beyond the checklist
    The checklist's own example of an injection walks in this way.
    """

    code = "QA1216"
    severity = Severity.HIGH
    checklist = ()
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = ((b"modules(",),)
    gate = staticmethod(walks)
    subject = staticmethod(walked)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Attachments to the module that an unlisted walk has yielded."""
        seen: set[ast.AST] = set()
        for event in modules.all("attach"):
            target = event.target
            if (
                not isinstance(target, Mod)
                or not isinstance(event.value, Mod)
                or event.how in {"init", "forward", "hook", "peft"}
            ):
                continue
            walk = target.args.get("walk")
            if not isinstance(walk, Walk) or walk.listed or walk.kind not in {"modules", "named_modules"}:
                continue
            loop = loop_of(event, walk)
            if loop is None or walk.site.node in seen or not meets(event):
                continue
            seen.add(walk.site.node)
            yield self.finding(
                modules.place(event.site),
                "a module gets a new child while the walk is still to enter it: the walk "
                "meets what it has made",
                related=[Related(modules.place(walk.site), "the walk is not a list")],
                fix=make_list(walk, event),
                help="walk over list(...)",
            )


def loop_of(event: Event, walk: Walk) -> ast.AST | None:
    """The loop over the walk that is running when the event happens."""
    for loop in event.loops:
        iterated = getattr(loop, "iter", None)
        if iterated is not None and any(node is walk.site.node for node in ast.walk(iterated)):
            return loop
    return None


def meets(event: Event) -> bool:
    """Whether the walk, going on into the new child, meets something that its tests let pass."""
    made = contents(event.value)
    if any(spared(guard, made) for guard in event.guards):
        return False
    types = [test for guard in event.guards for test in guard.tests if guard.outcome]
    excluded = {
        name for guard in event.guards if not guard.outcome for test in guard.tests for name in test.types
    }
    if event.value.kind in excluded:
        return False
    sizes = {"in_features", "out_features", "shape", "nf", "nx"}
    if any(
        isinstance(node, ast.Attribute) and node.attr in sizes
        for guard in event.guards
        for node in ast.walk(guard.node)
    ):
        return False
    about = [
        test
        for test in types
        if test.module.root is event.target.root
        and (test.module is event.target or "walk" in test.module.args or test.module.path == "*")
    ]
    if about:
        wanted = frozenset[str]().union(*(test.types for test in about))
        return any(module.kind in wanted or any(base in wanted for base in roots(module)) for module in made)
    return False


def spared(guard: Guard, made: list[Mod]) -> bool:
    """Whether a test of a child's own name passes nothing that is inside the new module, as far as known."""
    named = guard.value.name_of if isinstance(guard.value, Unknown) else None
    walk = named.args.get("walk") if named is not None else None
    if not guard.outcome or not isinstance(walk, Walk) or walk.kind != "named_children":
        return False
    assert isinstance(guard.value, Unknown)
    inside = {name for module in made for name, value in module.attrs.items() if isinstance(value, Mod)}
    return not any(wanted in name for wanted in guard.value.strings for name in inside)


def contents(module: Mod) -> list[Mod]:
    """A module and the modules in it; what it wraps included."""
    found: list[Mod] = []
    queue = [module]
    while queue:
        here = queue.pop()
        if here in found:
            continue
        found.append(here)
        queue.extend(value for value in [*here.attrs.values(), *here.elements] if isinstance(value, Mod))
    return found


def roots(module: Mod) -> list[str]:
    """The library classes that a module's class derives from, and for a wrapped layer the type tested."""
    if module.cls is not None:
        return [root.rsplit(".", 1)[-1] for root in module.cls.roots()]
    return ["Linear"] if module.parent is not None and module.path == "*" else []


def make_list(walk: Walk, event: Event) -> Fix | None:
    """Wrap the walk in `list(...)`."""
    if walk.site.file is not event.site.file:
        return None
    edits = walk.site.file.get(Edits)
    if edits is None or not isinstance(walk.site.node, ast.Call):
        return None
    return edits.safe("make a list of the walk first", edits.wrap(walk.site.node, "list(", ")"))
