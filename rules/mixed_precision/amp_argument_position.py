"""QA1124: an argument that lands in another parameter than its author thought."""

from __future__ import annotations

import ast

from qalint.analysis.command_line import CommandLine, Option
from qalint.analysis.concrete import Concrete
from qalint.analysis.edits import Edits
from qalint.analysis.names import Names
from qalint.analysis.nodes import nodes
from qalint.rule import Finding, Fix, Iterator, Rule, Severity

from .amp import constant

_DTYPES = ("torch.float16", "torch.half", "torch.bfloat16", "torch.float32", "torch.float")


class AmpArgumentPosition(Rule):
    """An argument of `GradScaler` or `autocast` is given in the position of another one.

    ## What it does
    Finds a number or truth value as the first positional argument of `torch.amp.GradScaler` (that is
    the device), a truth value as the second of `torch.amp.autocast` (that is the dtype), a
    `torch.device` object, truth value or dtype as the device of `torch.autocast`, and
    `torch.autocast()` without a device.

    ## Why is this bad?
    The old classes of `torch.cuda.amp` take other arguments in these positions, and code that was
    translated by replacing the name keeps the old order. `torch.amp.GradScaler(False)` raises
    nothing and makes an **enabled** scaler; `torch.amp.autocast("cpu", False)` raises `TypeError` when the
    region is entered. `torch.autocast(torch.device("cuda"))` raises `ValueError`, since the device
    must be a string, and `torch.autocast()` raises `TypeError`.

    ## Example
    ```python
    scaler = torch.amp.GradScaler(use_amp is True)
    with torch.autocast(torch.device("cuda"), enabled=use_amp):
        loss = model(x).sum()
    ```

    ## Use instead
    ```python
    scaler = torch.amp.GradScaler(enabled=use_amp is True)
    with torch.autocast(torch.device("cuda").type, enabled=use_amp):
        loss = model(x).sum()
    ```

    ## Fix safety
    The fix is safe: it gives the argument by the keyword that its value fits, or takes the `type` of a
    device. Only where no device is given at all it has to guess `"cuda"`, and is unsafe.

    ## Beyond the checklist
    The checklist asks for a scaler and for autocast; this rule asks whether the call that looks like
    one is one.

    ## References
    - [torch.amp](https://docs.pytorch.org/docs/stable/amp.html)
    """

    code = "QA1124"
    severity = Severity.HIGH
    needles = ((b"GradScaler", b"autocast"),)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, names: Names, edits: Edits, concrete: Concrete) -> Iterator[Finding]:
        """Look at every call and partial application of the two classes."""
        for call in names.calls("torch.amp.GradScaler"):
            yield from self.scaler(names, edits, concrete, call, call.args)
        for call in names.partials("torch.amp.GradScaler"):
            yield from self.scaler(names, edits, concrete, call, call.args[1:])
        for call in names.calls("torch.amp.autocast"):
            yield from self.autocast(names, edits, concrete, call, call.args)
        for call in names.partials("torch.amp.autocast"):
            yield from self.autocast(names, edits, concrete, call, call.args[1:], whole=False)

    def scaler(
        self, names: Names, edits: Edits, concrete: Concrete, call: ast.Call, args: list[ast.expr]
    ) -> Iterator[Finding]:
        """`GradScaler(True)`, `GradScaler(65536.0)`."""
        if not args:
            return
        first = args[0]
        keyword = "enabled" if truth(names, first) else "init_scale" if number(names, first) else None
        if keyword is None:
            return
        fix: Fix | None = None
        if len(args) == 1:
            fix = edits.safe(f"Pass it as `{keyword}`", concrete.name_argument(call, first, keyword))
        elif keyword == "init_scale" and not any(isinstance(item, ast.Starred) for item in args):
            fix = edits.safe("Name the device first", concrete.before_argument(call, first, '"cuda", '))
        effect = (
            "the scaler is enabled whatever it says"
            if keyword == "enabled"
            else "the scale stays the default"
        )
        yield self.finding(
            names.file.place(first),
            f"`{edits.segment(first)}` is taken as the device of `torch.amp.GradScaler`: {effect}",
            help=f"pass `{keyword}={edits.segment(first)}`",
            fix=fix,
        )

    def autocast(
        self,
        names: Names,
        edits: Edits,
        concrete: Concrete,
        call: ast.Call,
        args: list[ast.expr],
        whole: bool = True,
    ) -> Iterator[Finding]:
        """`autocast()`, `autocast(True)`, `autocast(torch.device(..))`, `autocast("cuda", False)`."""
        if any(isinstance(item, ast.Starred) for item in args):
            return
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        name = edits.segment(call.func if whole else call.args[0])
        if not args and "device_type" not in given:
            if whole and None not in given:
                yield self.finding(
                    names.file.place(call),
                    f"`{name}` needs a device type: this call raises `TypeError`",
                    help=f'write `{name}("cuda", ...)`, or pass the type of the device that the model is on',
                    fix=edits.unsafe('Add `"cuda"`', concrete.first_argument(call, '"cuda"')),
                )
            return
        first = args[0] if args else given["device_type"]
        place = names.file.place(first)
        text = edits.segment(first)
        if truth(names, first):
            yield self.finding(
                place,
                f"`{text}` is taken as the device type of `{name}`",
                help=f"pass a device type, and `enabled={text}`",
                fix=self.shifted(edits, concrete, call, args, given, first, "enabled"),
            )
        elif names.resolve(first) in _DTYPES:
            yield self.finding(
                place,
                f"`{text}` is taken as the device type of `{name}`",
                help=f"pass a device type, and `dtype={text}`",
                fix=self.shifted(edits, concrete, call, args, given, first, "dtype"),
            )
        elif is_device(names, first):
            simple = isinstance(first, (ast.Name, ast.Call))
            changes = concrete.after_argument(call, first, ".type") if simple else None
            yield self.finding(
                place,
                f"`{text}` is a `torch.device`: the device type of `{name}` must be a string",
                help=f"pass `{text}.type`",
                fix=edits.safe("Pass the type of the device", changes),
            )
        if len(args) > 1 and truth(names, args[1]) and "enabled" not in given and len(args) < 3:
            text = edits.segment(args[1])
            yield self.finding(
                names.file.place(args[1]),
                f"`{text}` is taken as the dtype of `{name}`",
                help=f"pass `enabled={text}`",
                fix=edits.safe("Pass it as `enabled`", concrete.name_argument(call, args[1], "enabled")),
            )

    @staticmethod
    def shifted(
        edits: Edits,
        concrete: Concrete,
        call: ast.Call,
        args: list[ast.expr],
        given: dict[str | None, ast.expr],
        first: ast.expr,
        keyword: str,
    ) -> Fix | None:
        """Put a device in front and name the argument; the old device was CUDA."""
        if len(args) != 1 or keyword in given:
            return None
        device = concrete.before_argument(call, first, '"cuda", ')
        return edits.unsafe(f"Pass it as `{keyword}`", device, concrete.name_argument(call, first, keyword))


def truth(names: Names, expr: ast.expr) -> bool:
    """Whether the value is a truth value, whatever it is."""
    if isinstance(expr, ast.BoolOp):
        return all(truth(names, value) for value in expr.values)
    if isinstance(expr, ast.UnaryOp):
        return isinstance(expr.op, ast.Not)
    if isinstance(expr, ast.Compare):
        return all(isinstance(op, (ast.Is, ast.IsNot, ast.In, ast.NotIn)) for op in expr.ops) or any(
            isinstance(item, ast.Constant) or (names.resolve(item) or "").startswith("torch.")
            for item in (expr.left, *expr.comparators)
        )
    if isinstance(expr, ast.Call):
        return names.resolve(expr.func) in ("torch.cuda.is_available", "torch.cuda.is_bf16_supported")
    if isinstance(expr, ast.Name):
        binding = names.binding(expr)
        if binding is not None and binding.kind == "param":
            annotation = getattr(binding.node, "annotation", None)
            return isinstance(annotation, ast.Name) and annotation.id == "bool"
        if binding is not None and binding.value is not None and not isinstance(binding.value, ast.Name):
            return truth(names, binding.value)
    if isinstance(expr, ast.Attribute):
        return flag(names, expr.attr)
    return isinstance(constant(names, expr), bool)


def flag(names: Names, field: str) -> bool:
    """Whether a setting of this name is a truth value wherever the file declares it."""
    line = names.file.get(CommandLine)
    assert line is not None
    known = [parsed_as_flag(names, option) for option in line.options.get(field, ())]
    for node in nodes(names.file.tree):
        match node:
            case ast.Call(func=func, keywords=keywords):
                value = next((keyword.value for keyword in keywords if keyword.arg == field), None)
                if value is not None and names.resolve(func) in (
                    "types.SimpleNamespace",
                    "argparse.Namespace",
                ):
                    known.append(isinstance(constant(names, value), bool))
            case ast.AnnAssign(target=ast.Name(id=name) | ast.Attribute(attr=name)) if name == field:
                known.append(isinstance(node.annotation, ast.Name) and node.annotation.id == "bool")
            case ast.Assign(targets=targets):
                if any(isinstance(target, ast.Attribute) and target.attr == field for target in targets):
                    known.append(isinstance(constant(names, node.value), bool))
            case _:
                pass
    return bool(known) and all(known)


def parsed_as_flag(names: Names, option: Option) -> bool:
    """Whether what an option gives is a truth value."""
    action, kind = option.given.get("action"), option.given.get("type")
    if isinstance(action, ast.Constant):
        return action.value in ("store_true", "store_false")
    if action is not None:
        return names.resolve(action) == "argparse.BooleanOptionalAction"
    return isinstance(kind, ast.Name) and kind.id == "bool"


def number(names: Names, expr: ast.expr) -> bool:
    """Whether the value is a number."""
    value = constant(names, expr)
    if isinstance(expr, ast.BinOp):
        return number(names, expr.left) and number(names, expr.right)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def is_device(names: Names, expr: ast.expr) -> bool:
    """Whether the value is a `torch.device`."""
    if isinstance(expr, ast.IfExp):
        return is_device(names, expr.body) and is_device(names, expr.orelse)
    if isinstance(expr, ast.Call):
        return names.resolve(expr.func) == "torch.device"
    if isinstance(expr, ast.Name):
        bindings = names.bindings(expr)
        return bool(bindings) and all(
            item.kind == "assign"
            and isinstance(item.value, (ast.Call, ast.IfExp))
            and is_device(names, item.value)
            for item in bindings
        )
    return False
