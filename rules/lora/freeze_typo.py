"""QA1206: a statement that looks like a freeze and freezes nothing."""

from __future__ import annotations

import ast

from qalint.analysis.concrete import Concrete
from qalint.analysis.edits import Edits
from qalint.analysis.names import Names
from qalint.analysis.nodes import nodes
from qalint.rule import Finding, Iterator, Rule, Severity

_MODULES = ("torch.nn.Module", "torch.nn.Sequential", "torch.nn.ModuleList", "torch.nn.ModuleDict")
_ITERATE = {"parameters": 0, "named_parameters": 1}
_OWNERS = {"modules": 0, "children": 0, "named_modules": 1, "named_children": 1}
_MISSPELT = frozenset(
    {
        "require_grad",
        "required_grad",
        "requires_grads",
        "require_grads",
        "requires_gradient",
        "require_gradient",
        "requires_gradients",
        "requiresgrad",
        "requires_Grad",
        "requiresGrad",
        "require_grad_",
        "required_grad_",
        "requries_grad",
        "requires_gard",
        "requred_grad",
        "requres_grad",
        "reqires_grad",
        "requies_grad",
        "requiers_grad",
        "requieres_grad",
        "rquires_grad",
    }
)
NAMES = (b".requires_grad", *sorted(name.encode() for name in _MISSPELT))
"""What says by itself that a file works on parameters: one with helpers need not import torch."""
_LOADERS = ("from_pretrained", "from_config")


class FreezeHasNoEffect(Rule):
    """A statement means to freeze parameters and has no effect.

    ## What it does
    Finds three ways to miss: a misspelt attribute (`p.require_grad = False`), a comparison in the place
    of an assignment (`p.requires_grad == False`), and the attribute set on a module
    (`model.requires_grad = False`) instead of on its parameters.

    ## Why is this bad?
    None of them raises. Python sets a new attribute that nobody reads, or throws a truth value away, and
    the base model goes on training: every parameter is updated, the optimizer keeps two more copies
    of the whole model, and a base loaded in FP16 then fails with `Attempting to unscale FP16 gradients.`

    ## Example
    ```python
    for p in model.parameters():
        p.require_grad = False
    model.requires_grad = False
    ```

    ## Use instead
    ```python
    for p in model.parameters():
        p.requires_grad = False
    model.requires_grad_(False)
    ```

    ## Fix safety
    The fix is safe: it writes what the statement says. It changes what is trained, which is the point.

    ## References
    - [Module.requires_grad_](https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.requires_grad_)
    """

    code = "QA1206"
    severity = Severity.CRITICAL
    needles = (
        (
            *(b".requires_grad" + end for end in (b" =", b"=", b" is", b"  ", b"\t", b"\\")),
            *sorted(name.encode() for name in _MISSPELT),
        ),
    )
    checklist = ("12.05",)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, names: Names, edits: Edits, concrete: Concrete) -> Iterator[Finding]:
        """Look at every assignment to, and discarded comparison of, an attribute like `requires_grad`."""
        for node in nodes(names.file.tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                target = node.targets[0]
                if isinstance(target, ast.Attribute) and (
                    answers(node.value) or (misspelt(target.attr) and walked(names, target.value))
                ):
                    yield from self.assigned(names, edits, concrete, node, target)
            elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Compare):
                yield from self.compared(names, edits, concrete, node.value)

    def assigned(
        self, names: Names, edits: Edits, concrete: Concrete, statement: ast.Assign, target: ast.Attribute
    ) -> Iterator[Finding]:
        """`x.require_grad = False` and `module.requires_grad = False`."""
        owner = edits.segment(target.value)
        value = edits.segment(statement.value)
        if target.attr == "requires_grad":
            if is_module(names, target.value):
                yield self.finding(
                    names.file.place(statement),
                    f"`{owner}` is a module: setting its `requires_grad` changes none of its parameters",
                    help=f"call `{owner}.requires_grad_({value})`",
                    fix=edits.safe(
                        "Call `requires_grad_`", concrete.assignment_to_call(statement, "requires_grad_")
                    ),
                )
            return
        if not misspelt(target.attr) or not is_parameter(names, target):
            return
        fix = edits.safe("Write `requires_grad`", concrete.attribute(target, "requires_grad"))
        help = "the attribute is called `requires_grad`"
        if is_module(names, target.value):
            fix = edits.safe(
                "Call `requires_grad_`", concrete.assignment_to_call(statement, "requires_grad_")
            )
            help = f"call `{owner}.requires_grad_({value})`"
        yield self.finding(
            names.file.place(target),
            f"`{target.attr}` is no attribute of torch: `{owner}` stays as it was",
            help=help,
            fix=fix,
        )

    def compared(
        self, names: Names, edits: Edits, concrete: Concrete, compare: ast.Compare
    ) -> Iterator[Finding]:
        """`p.requires_grad == False` as a statement."""
        left = compare.left
        if is_shown(names, edits, compare):
            return
        if len(compare.ops) != 1 or not isinstance(left, ast.Attribute):
            return
        if not isinstance(compare.ops[0], (ast.Eq, ast.Is)) or not truth(compare.comparators[0]):
            return
        if left.attr != "requires_grad" and not misspelt(left.attr):
            return
        owner, value = edits.segment(left.value), edits.segment(compare.comparators[0])
        if is_module(names, left.value):
            fixed = f"{owner}.requires_grad_({value})"
            changes = concrete.comparison_to_call(compare, "requires_grad_")
        else:
            fixed = f"{owner}.requires_grad = {value}"
            changes = concrete.comparison_to_assignment(compare, "requires_grad")
        fix = edits.safe("Assign", changes)
        yield self.finding(
            names.file.place(compare),
            f"this compares `{edits.segment(left)}` with `{value}` and throws the result away",
            help=f"write `{fixed}`",
            fix=fix,
        )


def truth(expr: ast.expr) -> bool:
    """Whether the expression is `True` or `False`."""
    return isinstance(expr, ast.Constant) and isinstance(expr.value, bool)


def answers(expr: ast.expr) -> bool:
    """Whether an expression is a truth value: a constant, or a test such as `"lora" in name`."""
    match expr:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BoolOp(values=values):
            return all(answers(value) for value in values)
        case ast.Call(func=ast.Name(id="any" | "all" | "bool" | "isinstance")):
            return True
        case ast.Call(func=ast.Attribute(attr="startswith" | "endswith")):
            return True
        case _:
            return truth(expr)


def misspelt(attribute: str) -> bool:
    """Whether a name is one of the common misspellings of `requires_grad`."""
    return attribute in _MISSPELT


def is_parameter(names: Names, target: ast.Attribute) -> bool:
    """Whether the misspelt attribute is set on a parameter or module, as far as the file can tell.

    An attribute that the file reads somewhere is the file's own; so is one that an object sets on
    itself.
    """
    owner = target.value
    if isinstance(owner, ast.Name):
        if owner.id in ("self", "cls"):
            return False
        if walked(names, owner):
            return True
    if is_module(names, owner):
        return True
    if next(names.imports("torch"), None) is None:
        return False
    return not any(
        isinstance(chain, ast.Attribute) and chain.attr == target.attr for chain in names.references
    )


def walked(names: Names, owner: ast.expr) -> bool:
    """Whether a name is bound by a loop over parameters."""
    return isinstance(owner, ast.Name) and any(
        isinstance(binding.statement, (ast.For, ast.AsyncFor))
        and any(
            isinstance(part, ast.Attribute) and part.attr in {"parameters", "named_parameters"}
            for part in ast.walk(binding.statement.iter)
        )
        for binding in names.bindings(owner)
    )


def is_shown(names: Names, edits: Edits, compare: ast.Compare) -> bool:
    """Whether the value of the comparison is the output of a notebook cell."""
    statement = edits.statement(compare)
    seat = edits.seat(statement) if statement is not None else None
    if seat is None:
        return False
    if isinstance(seat.parent, ast.Module):
        return names.file.source.kind != "python"
    scope = names.scopes.get(seat.parent)
    return scope is not None and scope.kind == "cell"


def is_module(names: Names, expr: ast.expr, depth: int = 0) -> bool:
    """Whether the expression is proven to be a module (and not a parameter or tensor)."""
    if depth > 8:
        return False
    if isinstance(expr, ast.Call):
        return made_module(names, expr, depth)
    if isinstance(expr, ast.Attribute) and isinstance(expr.value, ast.Name) and expr.value.id == "self":
        return module_attribute(names, expr, depth)
    if not isinstance(expr, ast.Name):
        return False
    bindings = names.bindings(expr)
    return bool(bindings) and all(
        module_binding(names, expr, binding.kind, binding.value, binding.statement, depth)
        for binding in bindings
    )


def module_attribute(names: Names, attribute: ast.Attribute, depth: int) -> bool:
    """Whether every assignment to `self.x` in the file gives it a module."""
    values = [
        node.value
        for node in ast.walk(names.file.tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute) and target.attr == attribute.attr
    ]
    return bool(values) and all(is_module(names, value, depth + 1) for value in values)


def module_binding(
    names: Names, name: ast.Name, kind: str, value: ast.expr | None, statement: ast.AST, depth: int
) -> bool:
    """Whether one binding of a name gives it a module."""
    if kind == "assign" and value is not None:
        return is_module(names, value, depth + 1)
    if kind == "other" and isinstance(statement, (ast.For, ast.AsyncFor)):
        return yields_module(name.id, statement.target, statement.iter)
    if kind == "param":
        annotation = next(
            (
                item.annotation
                for item in ast.walk(statement)
                if isinstance(item, ast.arg) and item.arg == name.id and item.annotation is not None
            ),
            None,
        )
        return names.canonical(annotation) in _MODULES
    return False


def yields_module(name: str, target: ast.expr, iterated: ast.expr) -> bool:
    """Whether `name` is the module of `for name in x.modules()` or `for key, name in x.named_modules()`."""
    while isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Name) and len(iterated.args) == 1:
        iterated = iterated.args[0]  # list(...)
    if not (isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Attribute)):
        return False
    position = _OWNERS.get(iterated.func.attr)
    if position is None:
        return False
    if position == 0:
        return isinstance(target, ast.Name) and target.id == name
    return (
        isinstance(target, ast.Tuple)
        and len(target.elts) == 2
        and isinstance(target.elts[1], ast.Name)
        and target.elts[1].id == name
    )


def made_module(names: Names, call: ast.Call, depth: int) -> bool:
    """Whether a call makes a module: a constructor, a loader, or a method that returns its module."""
    func = call.func
    qualified = names.resolve(func)
    if qualified is not None:
        last = qualified.rpartition(".")[2]
        if qualified.startswith("torch.nn.") and last[:1].isupper() and last not in ("Parameter", "Buffer"):
            return "parameter" not in qualified
        if qualified.startswith("torchvision.models.") or qualified == "timm.create_model":
            return True
        head, _, method = qualified.rpartition(".")
        return method in _LOADERS and head.startswith(("transformers.", "diffusers.")) and model_class(head)
    if isinstance(func, ast.Name):
        return is_module_class(names, func)
    if isinstance(func, ast.Attribute) and func.attr in (
        "to",
        "cuda",
        "cpu",
        "half",
        "float",
        "train",
        "eval",
    ):
        return is_module(names, func.value, depth + 1)
    return False


def model_class(qualified: str) -> bool:
    """Whether a class of transformers or diffusers is a model: `AutoModelForCausalLM`, `AutoencoderKL`."""
    name = qualified.rpartition(".")[2]
    return "Model" in name or "For" in name or name.startswith("Autoencoder")


def is_module_class(names: Names, name: ast.Name) -> bool:
    """Whether a class of this file is a `torch.nn.Module`."""
    seen: set[ast.AST] = set()
    stack: list[ast.expr] = [name]
    while stack:
        base = stack.pop()
        if names.canonical(base) in _MODULES or (names.resolve(base) or "").startswith("torch.nn."):
            return True
        definition = names.definition(base)
        if isinstance(definition, ast.ClassDef) and definition not in seen:
            seen.add(definition)
            stack.extend(definition.bases)
    return False
