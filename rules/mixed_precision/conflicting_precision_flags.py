"""QA1130: flags that exclude each other."""

from __future__ import annotations

import ast

from qalint.analysis.edits import Edits
from qalint.analysis.names import Names
from qalint.rule import Finding, Iterator, Related, Rule, Severity

from .amp import constant
from .half_parameters import full_precision

_ARGUMENTS = (
    "TrainingArguments",
    "SFTConfig",
    "DPOConfig",
    "GRPOConfig",
    "RewardConfig",
    "PPOConfig",
    "KTOConfig",
    "ORPOConfig",
)
_LIBRARIES = ("transformers", "trl", "sentence_transformers", "setfit", "adapters")
_TRAINERS = ("Trainer",)
_HALVES = ("torch.float16", "torch.half")
_ADAPTED = (
    "get_peft_model",
    "prepare_model_for_kbit_training",
    "add_adapter",
    "PeftModel",
    "requires_grad_",
    "requires_grad",
    "float",
    "autocast_adapter_dtype",
    "load_adapter",
)


class ConflictingPrecisionFlags(Rule):
    """A trainer is told two precisions that exclude each other.

    ## What it does
    Finds `TrainingArguments` (and the configurations of TRL that build on it) with both `fp16=True` and
    `bf16=True`, and a `Trainer` with `fp16=True` whose model is loaded in FP16 and trained whole.

    ## Why is this bad?
    The first raises `ValueError: At most one of fp16 and bf16 can be True` when the arguments are made. The
    second fails at the first step with `ValueError: Attempting to unscale FP16 gradients.`: `fp16=True`
    means mixed precision, in which the trained weights are FP32 and autocast makes the FP16 copies.

    ## Example
    ```python
    model = AutoModelForCausalLM.from_pretrained(name, torch_dtype=torch.float16)
    args = TrainingArguments("out", fp16=True)
    Trainer(model=model, args=args, train_dataset=data).train()
    ```

    ## Use instead
    ```python
    model = AutoModelForCausalLM.from_pretrained(name)
    args = TrainingArguments("out", fp16=True)
    Trainer(model=model, args=args, train_dataset=data).train()
    ```

    ## Fix safety
    The fix is unsafe: it keeps `bf16`, which needs no loss scaling but a GPU that has it, or loads the
    model in FP32, which needs twice the memory for the weights.

    ## References
    - [TrainingArguments](https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments)
    """

    code = "QA1130"
    severity = Severity.CRITICAL
    needles = ((b"fp16",), (b"bf16", b"Trainer"))
    checklist = ("11.14",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, names: Names, edits: Edits) -> Iterator[Finding]:
        """Look at training arguments, and at the trainers that get them."""
        for call in names.call_nodes:
            qualified = names.resolve(call.func) or ""
            library, _, last = qualified.partition(".")[0], "", qualified.rpartition(".")[2]
            if library not in _LIBRARIES:
                continue
            if last.endswith(_ARGUMENTS):
                yield from self.both(names, edits, call, last)
            elif last.endswith(_TRAINERS):
                yield from self.trained_half(names, edits, call, last)

    def both(self, names: Names, edits: Edits, call: ast.Call, name: str) -> Iterator[Finding]:
        """`fp16=True, bf16=True`."""
        half, brain = flag(names, call, "fp16"), flag(names, call, "bf16")
        if half is None or brain is None:
            return
        yield self.finding(
            names.file.place(half),
            f"`{name}` gets both `fp16=True` and `bf16=True`, and raises ValueError",
            help="keep `bf16=True` on a GPU that supports it, else `fp16=True`",
            related=[Related(names.file.place(brain), "the other precision")],
            fix=edits.unsafe("Keep bf16", edits.replace(half.value, "False")),
        )

    def trained_half(self, names: Names, edits: Edits, call: ast.Call, name: str) -> Iterator[Finding]:
        """A model that is loaded in FP16 and trained whole by an FP16 trainer."""
        given = {item.arg: item.value for item in call.keywords}
        model = given.get("model", call.args[0] if call.args else None)
        arguments = given.get("args", call.args[1] if len(call.args) > 1 else None)
        if model is None or arguments is None or None in given or "peft_config" in given:
            return
        made = value_of(names, arguments)
        if not isinstance(made, ast.Call) or flag(names, made, "fp16") is None:
            return
        loaded = value_of(names, model)
        if not isinstance(loaded, ast.Call) or not is_load(names, loaded):
            return
        dtype = next(
            (
                item
                for item in loaded.keywords
                if item.arg in ("torch_dtype", "dtype") and is_half(names, item.value)
            ),
            None,
        )
        if dtype is None or any(
            item.arg in ("quantization_config", "load_in_8bit", "load_in_4bit") for item in loaded.keywords
        ):
            return
        if mentions(names.file.tree, _ADAPTED):
            return
        yield self.finding(
            names.file.place(dtype),
            f"the model is loaded in FP16 and `{name}` has `fp16=True`: its gradients cannot be unscaled",
            help="load it in FP32: with `fp16=True` autocast makes the FP16 copies",
            related=[
                Related(
                    names.file.place(flag(names, made, "fp16") or made), "mixed precision is asked for here"
                ),
                Related(names.file.place(call), "all its parameters are trained here"),
            ],
            fix=edits.unsafe("Load it in FP32", full_precision(edits, dtype)),
        )


def flag(names: Names, call: ast.Call, name: str) -> ast.keyword | None:
    """The keyword `name=True` of a call, or of the `dict(...)` that it unpacks."""
    for item in call.keywords:
        if item.arg == name:
            return item if constant(names, item.value) is True else None
    for item in call.keywords:
        inner = value_of(names, item.value) if item.arg is None else None
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "dict":
            return flag(names, inner, name)
    return None


def value_of(names: Names, expr: ast.expr, depth: int = 4) -> ast.expr | None:
    """The expression that a name is bound to, or a function returns, if it is one; others are themselves."""
    if isinstance(expr, ast.Name):
        binding = names.binding(expr)
        value = binding.value if binding is not None and binding.kind == "assign" else None
        return value_of(names, value, depth - 1) if isinstance(value, ast.Call) and depth else value
    if isinstance(expr, ast.Call) and depth:
        made = returned(names, expr.func)
        if made is not None:
            return value_of(names, made, depth - 1)
    return expr


def returned(names: Names, func: ast.expr) -> ast.expr | None:
    """What a function of the file, or a method of `self`, returns, if it returns in one place only."""
    if isinstance(func, ast.Name):
        name = func.id
    elif isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id == "self":
        name = func.attr
    else:
        return None
    made = [
        node for node in ast.walk(names.file.tree) if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    if len(made) != 1 or made[0].decorator_list:
        return None
    returns = [node for node in ast.walk(made[0]) if isinstance(node, ast.Return)]
    return returns[0].value if len(returns) == 1 and returns[0] is made[0].body[-1] else None


def is_load(names: Names, call: ast.Call) -> bool:
    """Whether a call loads a model of transformers."""
    qualified = names.resolve(call.func) or ""
    return qualified.startswith("transformers.") and qualified.endswith(".from_pretrained")


def is_half(names: Names, expr: ast.expr) -> bool:
    """Whether a dtype is float16."""
    return names.resolve(expr) in _HALVES or constant(names, expr) in ("float16", "fp16")


def mentions(tree: ast.Module, words: tuple[str, ...]) -> bool:
    """Whether the file names one of the words: as a name, an attribute, a keyword or an import."""
    for node in ast.walk(tree):
        word = getattr(node, "attr", None) or getattr(node, "arg", None)
        if isinstance(node, ast.Name) and node.id != "float":
            word = node.id
        if word in words or (isinstance(node, ast.alias) and node.name.rpartition(".")[2] in words):
            return True
    return False
