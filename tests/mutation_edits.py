"""The edits of `mutation_adapters.py`: ways to break a correct program, each at every place that it fits.

An edit looks at the syntax tree, never at the names of one program: `freezes` is whatever sets
`requires_grad` to False or calls something named so, an optimizer is whatever `torch.optim` offers.
Statements are moved past one neighbour after the other; whether that harms is for the run to tell.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mutation_program import Program, ancestors, edit, is_false, last, names

OPTIMIZERS = frozenset({"SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "Adafactor"})
FACTORIES = frozenset({"randn", "rand", "empty"})
FAMILIES = {"c_attn": "q_proj", "c_proj": "o_proj", "c_fc": "up_proj"}
FAMILIES |= {
    "q_proj": "c_attn",
    "v_proj": "c_proj",
    "k_proj": "c_attn",
    "o_proj": "c_proj",
    "down_proj": "c_fc",
}
FAR = 4
"""Statements are moved past that many others at most."""
ADAPTER = re.compile("lora|adapt|lowrank|low_rank|wrapped|delta|bottleneck|tuned", re.IGNORECASE)
"""How people name the classes of adapters."""


# ------------------------------------------------------------ freezing


def frozen_by(node: ast.AST) -> bool:
    """Whether a node itself is `X.requires_grad = False` or `X.requires_grad_(False)`."""
    if isinstance(node, ast.Assign):
        return last(node.targets[0]) == "requires_grad"
    return (
        isinstance(node, ast.Call)
        and last(node.func) == "requires_grad_"
        and bool(node.args)
        and is_false(node.args[0])
    )


def freezes(program: Program) -> Iterator[ast.stmt]:
    """Statements that freeze: the largest that do nothing else, and calls of what is named so."""
    found: list[ast.stmt] = []
    for node in program.nodes:
        if frozen_by(node):
            statement = program.statement(node)
            while isinstance(parent := program.parents[statement], (ast.For, ast.If)) and parent.body == [
                statement
            ]:
                statement = parent
            found.append(statement)
        elif isinstance(node, ast.Call) and re.search("freeze|mark_only|prepare_for", last(node.func)):
            found.append(program.statement(node))
    yield from dict.fromkeys(found)


@edit("no freeze", "QA1204", "QA1206", "QA1221")
def no_freeze(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """Take a freeze away."""
    for statement in freezes(program):
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
            call = statement.value
            if last(call.func) == "requires_grad_" and isinstance(call.func, ast.Attribute):
                yield statement, program.change((call, program.source(call.func.value)))
            elif call.args:
                yield statement, program.change((call, program.source(call.args[0])))
            continue
        yield statement, program.change(program.without(statement))


@edit("freeze misspelt", "QA1206", "QA1204")
def misspelt(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`require_grad = False`."""
    for node in program.of(ast.Assign):
        if frozen_by(node):
            target = node.targets[0]  # type: ignore[attr-defined]
            yield (
                node,
                program.change((target, program.source(target).replace("requires_grad", "require_grad"))),
            )


@edit("freeze compared", "QA1206", "QA1204")
def compared(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`p.requires_grad == False`."""
    for node in program.of(ast.Assign):
        if frozen_by(node) and is_false(node.value):  # type: ignore[attr-defined]
            yield node, program.change((node, program.source(node).replace(" = ", " == ")))


@edit("freeze assigned to a module", "QA1206", "QA1204")
def assigned(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`model.requires_grad = False`."""
    for node in program.of(ast.Expr):
        call = node.value  # type: ignore[attr-defined]
        if isinstance(call, ast.Call) and frozen_by(call) and isinstance(call.func, ast.Attribute):
            yield node, program.change((node, program.source(call.func.value) + ".requires_grad = False"))


@edit("freeze later", "QA1205", "QA1208")
def freeze_later(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """A freeze moves past the statements after it; in a notebook also to the end of a later cell."""
    for statement in freezes(program):
        block = program.block(statement)
        at = block.index(statement)
        for other in block[at + 1 : at + 1 + FAR]:
            if isinstance(other, ast.Return):
                break
            yield (
                statement,
                program.moved(statement, statement, program.lines(other)[1], statement.col_offset),
            )
        yield from to_later_cells(program, statement)


@edit("freeze at the end of another function", "QA1205", "QA1208")
def freeze_elsewhere(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """What a function freezes of its parameter, one that injects freezes again when it is done."""
    for node in program.of(ast.FunctionDef):
        assert isinstance(node, ast.FunctionDef)
        if re.search("inject|add_lora|wrap", node.name) and node.args.args and node not in program.cells():
            name = node.args.args[0].arg
            if name == "self":
                continue
            end = node.body[-1]
            place = program.lines(end)[0 if isinstance(end, ast.Return) else 1]
            loop = f"    for weight in {name}.parameters():\n        weight.requires_grad = False\n"
            column = " " * node.col_offset
            yield (
                node,
                program.change((place, place, "".join(column + line + "\n" for line in loop.splitlines()))),
            )


def to_later_cells(program: Program, statement: ast.stmt) -> Iterator[tuple[ast.AST, str]]:
    """A statement of a cell moves to the end of each later cell that reads a name which it reads."""
    cells = program.cells()
    home = program.function(statement)
    if home not in cells:
        return
    read = names(statement)
    for cell in cells[cells.index(home) + 1 :]:
        if read & {name for part in cell.body for name in names(part)}:
            end = cell.body[-1]
            place = program.lines(end)[0 if isinstance(end, ast.Return) else 1]
            yield statement, program.moved(statement, statement, place, 4)


@edit("all unfrozen again", "QA1204", "QA1102")
def unfrozen(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """Everything is made trainable just before the optimizer is built."""
    for first, built in optimizers(program):
        for name in models_of(program, first, built):
            place = program.lines(first)[0]
            yield (
                built,
                program.change((place, place, " " * first.col_offset + f"{name}.requires_grad_(True)\n")),
            )


@edit("all frozen before the optimizer", "QA1205", "QA1208")
def frozen_late(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """Everything is frozen just before the optimizer is built."""
    for first, built in optimizers(program):
        for name in models_of(program, first, built):
            place = program.lines(first)[0]
            column = " " * first.col_offset
            loop = f"{column}for weight in {name}.parameters():\n{column}    weight.requires_grad = False\n"
            yield built, program.change((place, place, loop))


# ------------------------------------------------------------ the optimizer


def optimizers(program: Program) -> Iterator[tuple[ast.stmt, ast.stmt]]:
    """Statements that build an optimizer, each with the first of those before that make what it is given."""
    for call, name in program.calls():
        if name in OPTIMIZERS:
            built = first = program.statement(call)
            if not isinstance(built, ast.Assign):
                continue
            block = program.block(built)
            wanted = names(call)
            for other in reversed(block[: block.index(built)]):
                if isinstance(other, ast.Assign) and isinstance(other.targets[0], ast.Name):
                    if other.targets[0].id in wanted and "parameters" in program.source(other):
                        first = other
                        continue
                if "print" in program.source(other) or "weights" in program.source(other)[:9]:
                    continue
                break
            yield first, built


def models_of(program: Program, first: ast.stmt, built: ast.stmt) -> list[str]:
    """What `.parameters()` is asked of to build an optimizer."""
    found = [
        program.source(node.func.value)  # type: ignore[attr-defined]
        for part in (first, built)
        for node in ast.walk(part)
        if isinstance(node, ast.Call) and last(node.func) == "parameters"
    ]
    return list(dict.fromkeys(found))


@edit("optimizer earlier", "QA1207", "QA1208", "QA1211", "QA1114")
def optimizer_earlier(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """The optimizer is built before the statements above it; in a notebook at the end of earlier cells."""
    for first, built in optimizers(program):
        block = program.block(built)
        at = block.index(first)
        for other in reversed(block[max(0, at - FAR) : at]):
            if isinstance(other, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
                break
            place = program.lines(other)[0]
            yield built, program.moved(first, built, place, first.col_offset)
        cells = program.cells()
        home = program.function(built)
        if home in cells:
            for cell in cells[: cells.index(home)]:
                end = cell.body[-1]
                for name in models_of(program, first, built):
                    for alias in bound(cell):
                        place = program.lines(end)[0]
                        text = program.moved(first, built, place, 4)
                        start = place
                        part = text[start : start + 400].replace(f"{name}.parameters", f"{alias}.parameters")
                        yield built, text[:start] + part + text[start + 400 :]


def bound(cell: ast.FunctionDef) -> list[str]:
    """Names of models that a cell binds, as far as their names tell."""
    found = [
        node.id
        for part in cell.body
        for node in ast.walk(part)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
    return [name for name in dict.fromkeys(found) if re.search("model|base|backbone|student|adapted", name)]


@edit("optimizer without the filter")
def no_filter(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """Frozen parameters are given as well: they get no gradient, so nothing is harmed."""
    for node in program.of(ast.ListComp, ast.GeneratorExp):
        tests = [test for part in node.generators for test in part.ifs]  # type: ignore[attr-defined]
        if len(tests) == 1 and last(tests[0]) == "requires_grad" and "numel" not in program.source(node):
            start, end = program.span(tests[0])
            begin = program.text.rindex("if", 0, start)
            yield node, program.change((begin, end, ""))


@edit("parameters used up", "QA1114")
def used_up(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """A generator in place of a list: who asks second gets nothing."""
    for node in program.of(ast.ListComp):
        if "parameters()" in program.source(node) and isinstance(program.parents[node], ast.Assign):
            start, end = program.span(node)
            yield node, program.change((start, start + 1, "("), (end - 1, end, ")"))
    for call, name in program.calls():
        if name == "list" and call.args and "param" in program.source(call.args[0]):
            yield call, program.change((call, program.source(call.args[0])))


# ------------------------------------------------------------ the adapter


def builds(program: Program) -> Iterator[ast.Call]:
    """Calls that make an adapter: of a class of the program that is not called from the top as a model."""
    classes = {
        node.name  # type: ignore[attr-defined]
        for node in program.of(ast.ClassDef)
        if ADAPTER.search(node.name)  # type: ignore[attr-defined]
    }
    for call, name in program.calls():
        function = program.function(call)
        if name in classes or (re.fullmatch(r"LoRA(Linear|Layer|QKV|Module)?", name) and name not in classes):
            if function is None or function.name != "forward":
                yield call


@edit("adapters in a list", "QA1209")
def in_a_list(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """Python's containers in place of torch's."""
    plain = {"ModuleList": "list", "ParameterList": "list", "ModuleDict": "dict", "ParameterDict": "dict"}
    for call, name in program.calls():
        if name in plain:
            yield call, program.change((call.func, plain[name]))


@edit("adapter cast like the base", "QA1210", "QA1102", "QA1128")
def half_adapter(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`Adapter(...).half()`."""
    for call in builds(program):
        yield call, program.change((call, program.source(call) + ".half()"))


@edit("model cast after the injection", "QA1128", "QA1210", "QA1102")
def half_late(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`model.half()` just before the optimizer is built."""
    for first, built in optimizers(program):
        for name in models_of(program, first, built):
            place = program.lines(first)[0]
            yield built, program.change((place, place, " " * first.col_offset + f"{name}.half()\n"))


@edit("matrices in FP16", "QA1210", "QA1102")
def half_matrices(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`dtype=torch.float16` in place of float32, or none given."""
    for call, _ in program.calls():
        for keyword in call.keywords:
            if keyword.arg == "dtype" and program.source(keyword.value) == "torch.float32":
                yield call, program.change((keyword.value, "torch.float16"))
    for node in program.of(ast.ClassDef):
        halves = [
            keyword.value
            for call in ast.walk(node)
            if isinstance(call, ast.Call)
            for keyword in call.keywords
            if keyword.arg == "dtype" and program.source(keyword.value) == "torch.float32"
        ]
        weight = re.search(r"(\w+)\.weight\.device", program.source(node))
        if len(halves) > 1 and weight:
            yield node, program.change(*((value, f"{weight[1]}.weight.dtype") for value in halves))


@edit("cast left out", "QA1213", "QA1214", "QA1119", "QA1118", "QA1710")
def no_cast(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """A tensor keeps its precision."""
    for call, name in program.calls():
        if not isinstance(call.func, ast.Attribute):
            continue
        to_dtype = name == "to" and len(call.args) == 1 and program.source(call.args[0]).endswith("dtype")
        if to_dtype or (name in ("float", "half") and not call.args):
            yield call, program.change((call, program.source(call.func.value)))


def sums(program: Program) -> Iterator[tuple[ast.stmt, ast.BinOp | None]]:
    """Statements that add what an adapter says: in the forward of a class named so, or in a hook."""
    for node in program.of(ast.Return, ast.Assign, ast.AugAssign):
        assert isinstance(node, (ast.Return, ast.Assign, ast.AugAssign))
        function = program.function(node)
        if function is None:
            continue
        owner = next((up for up in ancestors(program, function) if isinstance(up, ast.ClassDef)), None)
        named = owner is not None and ADAPTER.search(owner.name + " ".join(map(program.source, owner.bases)))
        lora = "lora_" in program.source(node)
        if (
            (function.name == "forward" and (named or lora))
            or function.name == "add"
            or "hook" in function.name
        ):
            if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
                yield node, None
            elif isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.Add):
                yield node, node.value


@edit("adapter left out", "QA1215")
def left_out(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """A forward or a hook gives what the layer gave, without its second summand."""
    for node, value in sums(program):
        if value is None:
            yield node, program.change(program.without(node))
        else:
            yield node, program.change((value, program.source(value.left)))


@edit("adapter detached", "QA1215", "QA1218")
def detached(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """The second summand of a forward is cut from the graph."""
    for node, value in sums(program):
        if value is not None:
            yield node, program.change((value.right, f"({program.source(value.right)}).detach()"))


@edit("hook returns nothing", "QA1215")
def no_return(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """The sum of a hook is computed and forgotten."""
    hooks = {
        program.source(call.args[0])
        for call, name in program.calls()
        if name == "register_forward_hook" and call.args
    }
    for node in program.of(ast.Return):
        function = program.function(node)
        if function is not None and function.name in hooks:
            yield node, program.change((node, program.source(node.value)))  # type: ignore[attr-defined]


ATTACH = re.compile(r"setattr\(|\.register_forward_hook\(|\.forward = |\.apply_to\(\)|_modules\[.*\] = ")
"""What puts an adapter into a model, by its text."""


def made_in(program: Program, statement: ast.stmt) -> ast.expr | None:
    """What a statement that attaches an adapter makes there: `X(child)` of `setattr(m, n, X(child))`."""
    builders = list(builds(program))
    value = getattr(statement, "value", None)
    last_given = value.args[-1] if isinstance(value, ast.Call) and value.args else None
    for made in (last_given, value):
        if made is not None and any(part in builders for part in ast.walk(made)):
            return made
    if isinstance(last_given, ast.Call) and last(last_given.func)[:1].isupper():
        return last_given  # of a class, whatever it is called
    return None


@edit("never attached", "QA1215", "QA1208", "QA1114")
def not_attached(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """Whatever puts an adapter into the model is not done; one that is made there is made all the same."""
    for node in program.of(ast.Expr, ast.Assign):
        assert isinstance(node, ast.stmt)
        made = made_in(program, node)
        if ATTACH.search(program.source(node)):
            change = program.without(node) if made is None else (node, program.source(made))
            yield node, program.change(change)
        elif made is not None and isinstance(node, ast.Assign):
            if isinstance(node.targets[0], (ast.Attribute, ast.Subscript)):
                if not program.source(node.targets[0]).startswith("self."):
                    yield node, program.change((node, program.source(node.value)))


@edit("nothing injected", "QA1208", "QA1204")
def not_injected(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """The call that injects is not there, or the statement that makes an adapter and puts it in."""
    for call, name in program.calls():
        if not re.search("^_?inject|^add_lora|^add_adapters|^get_peft_model", name):
            continue
        statement = program.statement(call)
        if isinstance(statement, ast.Expr) and statement.value is call:
            yield statement, program.change(program.without(statement))
        elif call.args:
            yield statement, program.change((call, program.source(call.args[0])))
    for node in program.of(ast.Expr, ast.Assign):
        assert isinstance(node, ast.stmt)
        if ATTACH.search(program.source(node)) and made_in(program, node) is not None:
            yield node, program.change(program.without(node))


@edit("late binding", "QA1217")
def late(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """A hook or lambda no longer binds what changes with the loop."""
    for node in program.of(ast.arguments):
        assert isinstance(node, ast.arguments)
        for arg, default in zip(node.args[::-1], node.defaults[::-1], strict=False):
            if isinstance(default, ast.Name) and default.id == arg.arg:
                start, end = program.span(arg)[0], program.span(default)[1]
                begin = program.text.rindex(",", 0, start) if len(node.args) > 1 else start
                yield arg, program.change((begin, end, ""))


@edit("both zero", "QA1218")
def both_zero(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """What made one matrix random makes it zero, or is left out."""
    for call, name in program.calls():
        source = program.source(call)
        if re.search(r"init\.(kaiming|xavier|normal|uniform)", source) and call.args:
            yield call, program.change((call, f"torch.nn.init.zeros_({program.source(call.args[0])})"))
            statement = program.statement(call)
            if isinstance(statement, ast.Expr) and not re.search(r"\bempty\(|new_empty\(", program.text):
                yield call, program.change(program.without(statement))
        elif name in FACTORIES and any(
            isinstance(up, ast.Call) and last(up.func) == "Parameter" for up in ancestors(program, call)
        ):
            yield call, program.change((call.func, "torch.zeros"))


@edit("floor division", "QA1218")
def floor(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`alpha // rank`, of an alpha that is smaller."""
    for node in program.of(ast.BinOp):
        if isinstance(node.op, ast.Div) and "alpha" in program.source(node.left):  # type: ignore[attr-defined]
            left, right = program.source(node.left), program.source(node.right)  # type: ignore[attr-defined]
            yield node, program.change((node, f"{left} // {right}"))


@edit("parameter moved", "QA1219", "QA1209", "QA1210")
def parameter_moved(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`nn.Parameter(...).to("cuda")`, `nn.Parameter(...).half()`."""
    for call, name in program.calls():
        if name == "Parameter" and isinstance(program.parents[call], ast.Assign):
            yield call, program.change((call, program.source(call) + '.to("cuda")'))
            yield call, program.change((call, program.source(call) + ".half()"))


@edit("reentrant checkpoints", "QA1220")
def reentrant(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """Reentrant checkpointing, and no gradient asked of the inputs."""
    for call, name in program.calls():
        for keyword in call.keywords:
            if keyword.arg == "use_reentrant" and is_false(keyword.value):
                yield call, program.change((keyword.value, "True"))
        if name == "enable_input_require_grads":
            yield call, program.change(program.without(program.statement(call)))
    for node in program.of(ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):  # type: ignore[attr-defined]
            if isinstance(key, ast.Constant) and key.value == "use_reentrant" and is_false(value):
                yield node, program.change((value, "True"))


@edit("sizes swapped", "QA1201", "QA1203")
def swapped(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`out, in = weight.shape` for `in, out`."""
    for node in program.of(ast.Assign):
        target = node.targets[0]  # type: ignore[attr-defined]
        if isinstance(target, ast.Tuple) and len(target.elts) == 2:
            if program.source(node.value).endswith(".weight.shape"):  # type: ignore[attr-defined]
                first, second = target.elts
                yield node, program.change((first, program.source(second)), (second, program.source(first)))


@edit("no test of the layer's type", "QA1203", "QA1201")
def untested(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """One way to read the sizes for every layer."""
    for node in program.of(ast.If):
        assert isinstance(node, ast.If)
        test = program.source(node.test)
        if (
            node.orelse
            and ("isinstance" in test or "__name__" in test)
            and "features" in program.source(node)
        ):
            for branch in (node.body, node.orelse):
                if len(branch) == 1:
                    yield node, program.change((node, program.source(branch[0])))


@edit("only Linear", "QA1202", "QA1701")
def only_linear(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """Conv1D is no longer asked for."""
    for call, name in program.calls():
        if name == "isinstance" and isinstance(call.args[1], ast.Tuple):
            kinds = call.args[1].elts
            if any(last(kind) == "Conv1D" for kind in kinds):
                yield call, program.change((call.args[1], "nn.Linear"))


@edit("names of another family", "QA1701", "QA1208")
def other_names(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """The target names of another family of models."""
    for node in program.of(ast.List, ast.Tuple, ast.Set):
        parts = [part.value for part in node.elts if isinstance(part, ast.Constant)]  # type: ignore[attr-defined]
        if parts and all(isinstance(part, str) and part in FAMILIES for part in parts):
            text = program.source(node)
            yield node, program.change((node, re.sub(r"\w+", lambda m: FAMILIES.get(m[0], m[0]), text)))


@edit("injected while walking", "QA1216")
def walking(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """The walk over the modules is no longer copied first."""
    for call, name in program.calls():
        if (
            name == "list"
            and call.args
            and re.search(r"(modules|children)\(\)$", program.source(call.args[0]))
        ):
            yield call, program.change((call, program.source(call.args[0])))


# ------------------------------------------------------------ PEFT


@edit("adapters for inference", "QA1208", "QA1205")
def for_inference(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`LoraConfig(inference_mode=True)`: nothing of the adapters is trainable."""
    for call, name in program.calls():
        if name == "LoraConfig":
            end = program.span(call.keywords[-1])[1]
            yield call, program.change((end, end, ", inference_mode=True"))


@edit("fan_in_fan_out", "QA1711")
def fan(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """The flag for Conv1D is wrong."""
    for call, name in program.calls():
        if name == "LoraConfig":
            given = [keyword for keyword in call.keywords if keyword.arg == "fan_in_fan_out"]
            if given:
                yield call, program.change((given[0].value, "False"))
            else:
                end = program.span(call.keywords[-1])[1]
                yield call, program.change((end, end, ", fan_in_fan_out=True"))


@edit("adapters in the base's precision", "QA1210", "QA1102")
def same_precision(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`autocast_adapter_dtype=False` of a base in FP16."""
    for call, name in program.calls():
        if name == "get_peft_model":
            end = program.span(call)[1]
            yield call, program.change((end - 1, end, ", autocast_adapter_dtype=False)"))


@edit("merged before training", "QA1208", "QA1205")
def merged(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`merge_and_unload()` takes the adapters out again."""
    for call, name in program.calls():
        if name == "get_peft_model":
            yield call, program.change((call, program.source(call) + ".merge_and_unload()"))


# ------------------------------------------------------------ devices


@edit("not moved", "QA1211", "QA1705", "QA1707", "QA1706", "QA1219")
def not_moved(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`.to(device)` or `.cuda()` is left out."""
    for call, name in program.calls():
        if not isinstance(call.func, ast.Attribute) or not moves(program, call, name):
            continue
        statement = program.statement(call)
        if isinstance(statement, ast.Expr) and statement.value is call:
            yield call, program.change(program.without(statement))
        else:
            yield call, program.change((call, program.source(call.func.value)))


def moves(program: Program, call: ast.Call, name: str) -> bool:
    """Whether a call moves something to a device."""
    if name == "cuda":
        return "torch" not in program.source(call.func)
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return name == "to" and any(re.search(r"device|cuda", program.source(value)) for value in given[:1])


@edit("move thrown away", "QA1704", "QA1707")
def thrown_away(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`x.to(device)` without keeping what it gives."""
    for node in program.of(ast.Assign):
        assert isinstance(node, ast.Assign)
        value, target = node.value, node.targets[0]
        if isinstance(value, ast.Call) and moves(program, value, last(value.func)):
            if isinstance(value.func, ast.Attribute) and isinstance(target, ast.Name):
                receiver = program.source(value.func.value)
                call = program.source(value)
                if receiver == target.id:
                    yield node, program.change((node, call))
                elif "(" not in receiver.split("[")[0]:
                    column = " " * node.col_offset
                    moved = call.replace(receiver, target.id, 1)
                    yield node, program.change((node, f"{target.id} = {receiver}\n{column}{moved}"))


@edit("moved before the injection", "QA1211", "QA1705")
def moved_early(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """A statement that moves a model goes up past those before it."""
    for node in program.of(ast.Expr, ast.Assign):
        assert isinstance(node, ast.stmt)
        call = node.value  # type: ignore[attr-defined]
        if not isinstance(call, ast.Call) or not moves(program, call, last(call.func)):
            continue
        if isinstance(node, ast.Assign) and program.source(node.targets[0]) not in program.source(call):
            continue
        block = program.block(node)
        at = block.index(node)
        for other in reversed(block[max(0, at - FAR) : at]):
            if isinstance(other, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
                break
            yield node, program.moved(node, node, program.lines(other)[0], node.col_offset)


@edit("made on the CPU", "QA1705", "QA1211", "QA1707", "QA1706", "QA1710")
def made_on_cpu(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """No `device=`."""
    for call, _ in program.calls():
        for keyword in call.keywords:
            if keyword.arg == "device" and program.text[program.span(keyword)[0] - 2 :].startswith(", "):
                start, end = program.span(keyword)
                yield call, program.change((start - 2, end, ""))


@edit("buffer becomes an attribute", "QA1706", "QA1705")
def no_buffer(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`self.x = tensor` for `register_buffer`."""
    for call, name in program.calls():
        if name == "register_buffer" and isinstance(call.args[0], ast.Constant):
            made = f"self.{call.args[0].value!s} = {program.source(call.args[1])}"
            yield call, program.change((program.statement(call), made))


@edit("device of a module", "QA1709")
def module_device(program: Program) -> Iterator[tuple[ast.AST, str]]:
    """`layer.device` for `layer.weight.device`."""
    for node in program.of(ast.Attribute):
        assert isinstance(node, ast.Attribute)
        if node.attr in ("device", "dtype") and isinstance(node.value, ast.Attribute):
            if node.value.attr == "weight":
                yield node, program.change((node.value, program.source(node.value.value)))
