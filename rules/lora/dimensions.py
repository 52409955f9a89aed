"""Which dimension of a layer is which: GPT-2's Conv1D stores (in, out), Linear stores (out, in)."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Changes, Edits
from qalint.analysis.modules import Adapters, Event, Guard, Modules, named
from qalint.analysis.modules.adapters import conv1d_names
from qalint.analysis.modules.families import BY_NAME
from qalint.analysis.modules.gates import says_dimensions
from qalint.analysis.modules.needles import ADAPT, GPT2, READ, RUN, WALK
from qalint.analysis.modules.subjects import attached, sized
from qalint.analysis.modules.values import Dim, Mod, Site, Value, each
from qalint.file import File
from qalint.rule import Finding, Fix, Related, Rule, Severity

from .beside import written_beside

TAKES = frozenset(
    [
        "in_features",
        "in_dim",
        "in_f",
        "in_feat",
        "in_size",
        "in_ch",
        "fan_in",
        "n_in",
        "d_in",
        "nin",
        "nx",
        "input_dim",
        "input_size",
    ]
)
GIVES = frozenset(
    [
        "out_features",
        "out_dim",
        "out_f",
        "out_feat",
        "out_size",
        "out_ch",
        "fan_out",
        "n_out",
        "d_out",
        "nout",
        "nf",
        "output_dim",
        "output_size",
    ]
)
NAMED = (
    *(
        b"%c%s" % (before, name.encode())
        for before in b" (,.\t\n"
        for name in sorted(TAKES | GIVES)
        if len(name) > 3
    ),
    *(
        b"%c%s%c" % (before, name, after)
        for name in (b"nx", b"nf", b"nin")
        for before in b" (,.\t\n"
        for after in b" ,)="
    ),
)
"""Without one of these nobody says what a dimension is taken for."""
SQUARE = frozenset({"q_proj", "o_proj"})
SQUARE_PATHS = ("q_proj", "o_proj", "attn.c_proj")
"""Layers of known models that give as much as they take, and so may be read either way."""
GPT2_ONLY = frozenset({"c_attn"})
STORED = {"Conv1D": "(in, out)", "Linear": "(out, in)"}


def names_tested(event: Event) -> frozenset[str]:
    """The layer names that the tests on the way to an event ask for."""
    return frozenset().union(*(value.strings for _, value in named(event)))


class SwappedConv1dDimensions(Rule):
    """A layer's weight is read with its input and output dimension swapped.

    ## What it does
    Finds adapters whose first matrix is sized by what a layer gives and whose second by what it
    takes, because `weight.shape` was read in the wrong order for the type of layer that the code
    itself has established (by `isinstance`, by the type's name, by `hasattr`).

    ## Why is this bad?
    GPT-2's `Conv1D` stores its weight as (in, out), `nn.Linear` as (out, in). Read the other way
    round, the adapter does not fit: `RuntimeError: mat1 and mat2 shapes cannot be multiplied`. On a
    square layer the mistake goes unnoticed until a layer comes that is not.

    ## Example
    ```python
    if isinstance(layer, Conv1D):
        out_features, in_features = layer.weight.shape
    ```

    ## Use instead
    ```python
    if isinstance(layer, Conv1D):
        in_features, out_features = layer.weight.shape
    ```

    ## Fix safety
    The fix swaps the two names or the two indices. It is safe: a correct run is not possible with them
    as they are, except on square layers, where the swap changes nothing.

    ## References
    - [transformers: Conv1D](https://huggingface.co/docs/transformers/internal/modeling_utils)
    - [torch.nn.Linear](https://docs.pytorch.org/docs/stable/generated/torch.nn.Linear.html)
    """

    code = "QA1201"
    severity = Severity.CRITICAL
    checklist = ("12.01", "12.02")
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (
        (*ADAPT, b"weight.shape", b"weight.size(", b"Conv1D"),
        (*ADAPT, b"Linear)", b"Linear,", b"Linear():", b"Conv1D"),
        (*ADAPT, *NAMED),
    )
    subject = staticmethod(sized)

    @staticmethod
    def gate(file: File) -> bool:
        """Whether the file says what a dimension is taken for, or makes adapters."""
        return says_dimensions(file, TAKES | GIVES)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Pairs of matrices whose outer dimensions are a layer's, the wrong way round."""
        seen: set[ast.AST] = set()
        sized: set[ast.AST] = set()
        for event in modules.all("pair"):
            takes, gives = event.info["in"], event.info["out"]
            sized |= {
                d.site.node for value in (takes, gives) if value for d in each(value) if isinstance(d, Dim)
            }
            wrong = swapped(takes, gives)
            if not wrong or wrong[0].site.node in seen:
                continue
            if is_square(event, wrong[0].layer):
                continue
            seen |= {dim.site.node for dim in wrong}
            yield self.report(
                modules,
                wrong,
                [Related(modules.place(event.site), "an adapter of these dimensions is applied here")],
            )
        for event in modules.all("bound"):
            # no adapter is seen to be made of it: the names say what the dimensions are taken for
            dim = event.target
            if dim.site.node in seen or dim.site.node in sized or dim.kind not in STORED:
                continue
            if (event.name in TAKES and dim.role == "out") or (event.name in GIVES and dim.role == "in"):
                if is_square(event, dim.layer):
                    continue
                others = [
                    other.target
                    for other in modules.all("bound")
                    if other.target.layer is dim.layer
                    and other.target.role in {"in", "out"} - {dim.role}
                    and other.name in TAKES | GIVES
                    and other.target.site.node not in seen
                ]
                wrong = [dim, *others[:1]]
                seen |= {one.site.node for one in wrong}
                yield self.report(modules, wrong, [])

    def report(self, modules: Modules, wrong: list[Dim], related: list[Related]) -> Finding:
        """One layer whose dimensions are swapped."""
        dim = wrong[0]
        related += [
            Related(modules.place(other.site), "the other dimension is read here")
            for other in wrong[1:]
            if other.site.node is not dim.site.node
        ]
        return self.finding(
            modules.place(dim.site),
            f"`{ast.unparse(dim.site.node)}` of a {dim.kind} is read as "
            f"{'(out, in)' if dim.kind == 'Conv1D' else '(in, out)'}, but {dim.kind} "
            f"stores {STORED[dim.kind]}",
            related=related,
            fix=swap(wrong),
            help=f"a {dim.kind} stores its weight as {STORED[dim.kind]}: swap the two",
        )


def is_square(event: Event, layer: Mod) -> bool:
    """Whether a layer gives as much as it takes: by its name, by those that are asked for, or by a test."""
    names = names_tested(event)
    if any(guard.outcome and compares_own(guard, layer) for guard in (*event.guards, *layer.passed)):
        return True
    return bool(names and names <= SQUARE) or layer.full_path.endswith(SQUARE_PATHS)


def compares_own(guard: Guard, layer: Mod) -> bool:
    """Whether a test says that the two dimensions of a layer are equal."""
    equal = isinstance(guard.node, ast.Compare) and isinstance(guard.node.ops[0], ast.Eq)
    return equal and guard.key.count(f"{layer.term}.") >= 2


def swapped(takes: Value | None, gives: Value | None) -> list[Dim]:
    """The dimensions by which an adapter takes what a layer gives, or the reverse.

    Both can depend on a test of the layer's type: each type is judged by itself.
    """
    for kind in STORED:
        first = [dim for dim in each(takes) if isinstance(dim, Dim) and dim.kind == kind] if takes else []
        second = [dim for dim in each(gives) if isinstance(dim, Dim) and dim.kind == kind] if gives else []
        if any(dim.role == "in" for dim in first) or any(dim.role == "out" for dim in second):
            continue
        if first or second:
            return [*first, *second]
    return []


def swap(dims: list[Dim]) -> Fix | None:
    """Swap the names or the indices by which two dimensions are read."""
    file = dims[0].site.file
    edits = file.get(Edits)
    if edits is None or len(dims) != 2 or any(dim.site.file is not file for dim in dims):
        return None
    message = "swap the two dimensions"
    first = edits.statement(dims[0].site.node)
    if dims[0].site.node is dims[1].site.node:
        if (
            isinstance(first, ast.Assign)
            and first.value is dims[0].site.node
            and isinstance(first.targets[0], ast.Tuple)
            and len(first.targets[0].elts) == 2
        ):
            one, two = first.targets[0].elts
            return edits.safe(
                message, edits.replace(one, edits.segment(two)), edits.replace(two, edits.segment(one))
            )
        return None
    changes = []
    for dim in dims:
        parent = edits.parent(dim.site.node)
        if not isinstance(parent, ast.Subscript) or not isinstance(parent.slice, ast.Constant | ast.UnaryOp):
            return None
        changes.append(edits.replace(parent.slice, "0" if dim.index == 1 else "1"))
    return edits.safe(message, *changes)


class LinearOnlyInjection(Rule):
    """Only `nn.Linear` layers get adapters, in code for a model that is made of `Conv1D`.

    ## What it does
    Finds injections whose type test lets only `nn.Linear` pass, where the model is a GPT-2 or the
    names that are asked for are GPT-2's (`c_attn`).

    ## Why is this bad?
    In transformers' GPT-2 every layer but `lm_head` is a `Conv1D`, which is no `nn.Linear`. The
    injection finds `lm_head` or nothing; with the base frozen the optimizer is then empty or nothing
    that matters is trained.

    ## Example
    ```python
    for name, layer in list(model.named_modules()):
        if isinstance(layer, nn.Linear) and "c_attn" in name:
            inject(model, name, layer)
    ```

    ## Use instead
    ```python
    from transformers.pytorch_utils import Conv1D

    for name, layer in list(model.named_modules()):
        if isinstance(layer, (nn.Linear, Conv1D)) and "c_attn" in name:
            inject(model, name, layer)
    ```

    ## Fix safety
    The fix lets `Conv1D` pass the test. It is unsafe: what follows must then read the dimensions of
    both types (see `unchecked-layer-type`), and it is offered only where nothing else reads them.

    ## References
    - [transformers: Conv1D](https://huggingface.co/docs/transformers/internal/modeling_utils)
    """

    code = "QA1202"
    severity = Severity.CRITICAL
    checklist = ("12.04", "17.01", "17.02", "17.04")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = ((*RUN, *WALK), GPT2, (b"Linear",), (b"isinstance(", b"type(", b"__class__"))
    subject = staticmethod(attached)

    def check(self, adapters: Adapters) -> Iterator[Finding]:
        """Injections behind a test for `nn.Linear` alone, in a GPT-2."""
        seen: set[ast.AST] = set()
        own = written_with_linear(adapters.modules)
        for injection in adapters.injections:
            root = injection.model
            written = conv1d_names(root) if root.cls is not None else frozenset()
            if root.cls is not None and not written:
                continue
            for event in injection.events:
                tests = [
                    test
                    for guard in event.guards
                    if guard.outcome
                    for test in guard.tests
                    if test.module.root is root
                    and (
                        test.module is event.target
                        or in_value(event.value, test.module)
                        or test.module.path == "*"
                    )
                ]
                linear = [test for test in tests if test.types == {"Linear"} and test.kind == "is"]
                if not linear or any("Conv1D" in test.types for test in tests):
                    continue
                names = names_tested(event)
                if root.family is not None and not BY_NAME[root.family].conv1d:
                    continue
                if root.cls is not None and names and not names & written:
                    continue
                if root.cls is not None and not any(is_conv1d(walked(test.module)) for test in linear):
                    continue
                last = {name.rsplit(".", 1)[-1] for name in names}
                if root.family is not None and last and not last & BY_NAME[root.family].layers:
                    continue  # none of them is a layer of this model: `QA1701` says so
                if root.family is None and root.cls is None and (not names & GPT2_ONLY or names & own):
                    continue
                test = linear[0]
                if test.site.node in seen or other_branch(adapters, injection, event, test.site):
                    continue
                if root.family is None and root.cls is None:
                    if written_beside(adapters.modules, names & GPT2_ONLY):
                        continue
                seen.add(test.site.node)
                related = [Related(adapters.place(event.site), "the adapter is put in here")]
                why = f"the names asked for are GPT-2's ({', '.join(sorted(names & GPT2_ONLY))})"
                if root.cls is not None:
                    held = BY_NAME["gpt2"].layers <= written
                    why = f"`{root.cls.name}` " + (
                        "holds a GPT-2"
                        if held
                        else f"keeps its layers under {', '.join(f'`{n}`' for n in sorted(written))}"
                    )
                if root.family is not None:
                    why = f"`{injection.name}` is a GPT-2"
                    if root.model_id is not None:
                        related.append(Related(adapters.place(root.model_id), "the model is a GPT-2"))
                yield self.finding(
                    adapters.place(test.site),
                    f"only `nn.Linear` gets an adapter, but {why}, whose layers are `Conv1D`",
                    related=related,
                    fix=admit(adapters, injection.events, test.site),
                    help=(
                        "test for both: isinstance(layer, (nn.Linear, Conv1D)), and "
                        "read each one's dimensions its own way"
                    ),
                )


def walked(module: Mod) -> Mod:
    """What was walked over to meet a module."""
    while module.parent is not None:
        module = module.parent
    return module


def is_conv1d(module: Mod) -> bool:
    """Whether layers of a model, or of what it holds, are GPT-2's `Conv1D`."""
    loaded = module.family is not None and BY_NAME[module.family].conv1d
    return loaded or module.kind == "Conv1D" or bool(conv1d_names(module))


def in_value(value: Value, module: Mod) -> bool:
    """Whether what is put in holds the tested layer."""
    return isinstance(value, Mod) and module in value.attrs.values()


def written_with_linear(modules: Modules) -> frozenset[str]:
    """Names under which the program's own classes keep a `Linear`."""
    return frozenset(
        event.name
        for event in modules.all("attach")
        if event.how == "init" and isinstance(event.value, Mod) and event.value.kind == "Linear"
    )


def other_branch(adapters: Adapters, injection: object, event: Event, site: Site) -> bool:
    """Whether another injection of the same model has a test that lets `Conv1D` pass."""
    del event, site
    events = injection.events if hasattr(injection, "events") else []
    return any(
        "Conv1D" in test.types
        for other in events
        for guard in other.guards
        if guard.outcome
        for test in guard.tests
    )


def admit(adapters: Adapters, events: list[Event], site: Site) -> Fix | None:
    """Let `Conv1D` pass a test `isinstance(x, nn.Linear)`."""
    call = site.node
    edits = site.file.get(Edits)
    if edits is None or not isinstance(call, ast.Call) or len(call.args) != 2:
        return None
    if any(event.name in {"in_features", "out_features"} for event in adapters.modules.all("read")):
        return None
    own = [cls for cls in adapters.run.classes if cls.name == "Conv1D"]
    if own:
        # The program has a layer of its own by this name, which is the one that it is made of.
        if not any(cls.scope.file is site.file for cls in own):
            return None
        spelled: tuple[str, Changes] | None = ("Conv1D", ())
    else:
        spelled = edits.spelling("transformers.pytorch_utils.Conv1D", call)
    if spelled is None:
        return None
    text, imports = spelled
    return edits.unsafe(
        "let Conv1D pass as well",
        edits.replace(call.args[1], f"({edits.segment(call.args[1])}, {text})"),
        imports,
    )


class UncheckedLayerType(Rule):
    """A layer's dimensions are read without asking which type of layer it is.

    ## What it does
    Finds `in_features`, `out_features` and `weight.shape` of layers met while walking over a model,
    where no test says whether the layer is a `Linear` or a `Conv1D`, in code that meets both: the
    model is a GPT-2, or the names asked for belong to GPT-2.

    ## Why is this bad?
    GPT-2's `Conv1D` has no `in_features` (it has `nx` and `nf`): `AttributeError: 'Conv1D' object has
    no attribute 'in_features'`. Its weight is stored as (in, out), a `Linear`'s as (out, in), so one
    way of reading the shape is wrong for one of them.

    ## Example
    ```python
    for name, layer in list(model.named_modules()):
        if "c_attn" in name:
            adapter = LoRA(layer.in_features, layer.out_features)
    ```

    ## Use instead
    ```python
    for name, layer in list(model.named_modules()):
        if "c_attn" in name:
            if isinstance(layer, Conv1D):
                in_features, out_features = layer.weight.shape
            else:
                in_features, out_features = layer.in_features, layer.out_features
            adapter = LoRA(in_features, out_features)
    ```

    ## Fix safety
    The fix asks for the type's name where `in_features` and `out_features` are read. It is unsafe: which
    types can come is the author's to say.

    ## References
    - [transformers: Conv1D](https://huggingface.co/docs/transformers/internal/modeling_utils)
    """

    code = "QA1203"
    severity = Severity.HIGH
    checklist = ("12.03", "17.01", "17.02")
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = ((*RUN, *WALK), GPT2, READ)

    def check(self, modules: Modules) -> Iterator[Finding]:
        """Reads of dimensions that no test covers, one for each layer."""
        seen: set[tuple[int, int]] = set()
        sized = {
            dim.site.node
            for event in modules.all("pair")
            for value in (event.info["in"], event.info["out"])
            if value is not None
            for dim in each(value)
            if isinstance(dim, Dim)
        }
        for event in modules.all("read"):
            layer: Mod = event.target
            root = layer.root
            if layer.parent is None or (root.cls is not None and not conv1d_names(root)):
                continue
            if not unsettled(event, root, sized):
                continue
            if root.family is None and root.cls is None:
                if written_beside(modules, names_tested(event) & GPT2_ONLY):
                    continue
            shape = event.name == "weight.shape"
            key = (id(layer), id(event.site.file))
            if key in seen:
                continue
            seen.add(key)
            related = []
            if root.model_id is not None:
                related.append(Related(modules.place(root.model_id), "the model is a GPT-2"))
            text = ast.unparse(event.site.node)
            yield self.finding(
                modules.place(event.site),
                f"`{text}` is read without asking whether the layer is a `Linear` or a GPT-2 `Conv1D`"
                + (", which has no such attribute" if not shape else ": the two store it in opposite order"),
                related=related,
                fix=ask_first(modules, event),
                help=(
                    "ask isinstance(layer, Conv1D) first: Conv1D stores its weight as "
                    "(in, out), Linear has in_features"
                ),
            )


def unsettled(event: Event, root: Mod, sized: set[ast.AST]) -> bool:
    """Whether a layer's dimensions are read where it can be a `Conv1D` as well as a `Linear`."""
    types = event.info["types"]
    conv = BY_NAME[root.family].conv1d if root.family is not None else None
    layers = BY_NAME["gpt2"].layers
    if root.cls is not None:
        conv, layers = True, conv1d_names(root)
    attribute = event.name in {"in_features", "out_features"}
    names = names_tested(event)
    if event.info["tested"]:
        if types is None or "Conv1D" not in types or conv is False:
            return False
        return attribute or (len(types) > 1 and event.site.node in sized)
    if conv is False or any(guard.node.__class__ is ast.ExceptHandler for guard in event.guards):
        return False
    if conv is True and names and not names & layers:
        return False
    if attribute:
        return conv is True or bool(names & GPT2_ONLY)
    other = {"q_proj", "v_proj", "k_proj", "query_key_value", "o_proj"}
    return bool(names & GPT2_ONLY) and bool(names & other) and event.site.node in sized


def ask_first(modules: Modules, event: Event) -> Fix | None:
    """Read `in_features` and `out_features` of a layer according to its type."""
    file = event.site.file
    edits = file.get(Edits)
    if edits is None:
        return None
    changes = []
    seen: set[ast.AST] = set()
    for other in modules.all("read"):
        node = other.site.node
        if other.target is not event.target or other.site.file is not file or node in seen:
            continue
        seen.add(node)
        if other.name not in {"in_features", "out_features"} or not isinstance(node, ast.Attribute):
            return None
        layer = edits.segment(node.value)
        index = 0 if other.name == "in_features" else 1
        conv = f'type({layer}).__name__ == "Conv1D"'
        text = f"({layer}.weight.shape[{index}] if {conv} else {edits.segment(node)})"
        changes.append(edits.replace(node, text))
    return edits.unsafe("ask for the layer's type first", *changes) if changes else None
