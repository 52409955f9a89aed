"""What a program decides that its reader may want explained, seen in the code alone.

A decision is a place in the code: a hyperparameter's value, a GPU, a precision, an adapter, an
optimization, a data set, a long loop, a chart. Names are judged by their last part (`GradScaler`,
`clip_grad_norm_`), because in notebooks the imports stand in other cells and a decision is the same
under any alias; what a call does to an object is the abstract machine's business, not this one's.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import NamedTuple, Self

from ..file import File
from ..rule import Place


class Decision(NamedTuple):
    """One decision. `topic` is its name in words ("learning rate"), `kind` its family, `text` its code."""

    kind: str
    topic: str
    node: ast.AST
    text: str
    value: ast.expr | None = None


HYPERPARAMETERS: dict[str, str] = {
    "learning rate": r"(?:\w+_)?(?:lr|learning_rate)",
    "batch size": r"(?:\w+_)?(?:batch_size|bs|batchsize)|per_device_train_batch_size",
    "epochs": r"(?:n_|num_|max_|num_train_|train_)?epochs?",
    "steps": r"(?:num_|max_|n_|train_|training_)steps?",
    "rank": r"(?:lora_)?(?:rank|r)|lora_dim",
    "alpha": r"(?:lora_)?alpha",
    "dropout": r"(?:lora_)?dropout(?:_p)?",
    "weight decay": r"weight_decay|wd",
    "clipping norm": r"max_norm|max_grad_norm|grad_clip|clip_norm",
    "warm-up": r"warmup(?:_steps|_ratio)?|num_warmup_steps",
    "accumulation": r"(?:gradient_|grad_)?accum(?:ulation)?(?:_steps)?|accumulate",
    "sequence length": r"(?:max_)?(?:seq_len|seq_length|length|sequence_length)|block_size|context_length",
    "momentum": r"momentum",
}
"""The hyperparameters, and the names that they go by in code."""

_HYPER = {topic: re.compile(rf"(?:{pattern})\Z", re.IGNORECASE) for topic, pattern in HYPERPARAMETERS.items()}
_AMBIGUOUS = {"r", "rank", "alpha", "length", "steps", "dropout", "lora_dim", "momentum", "wd", "bs"}
_ADAPTER_CALL = re.compile(r"lora|peft|adapter|inject", re.IGNORECASE)
_CONTROLS = frozenset(
    {
        "slider",
        "number",
        "dropdown",
        "text",
        "switch",
        "checkbox",
        "radio",
        "multiselect",
        "range_slider",
        "text_area",
    }
)
_TABLES = frozenset(
    {"table", "dataframe", "data_explorer", "data_editor", "display", "st_dataframe", "DataTable", "itables"}
)
_CHARTS = re.compile(
    r"(?:plt|ax|axes|axs|px|alt|sns|go|fig|pyplot)\b.*\.(?:plot|show|bar|barh|hist|scatter|line|imshow|Chart|Figure"
    r"|lineplot|histplot|heatmap|barplot|semilogy)\Z|(?:.*\.)?(?:altair_chart|plotly)\Z"
)
_DATA_CALLS = frozenset(
    {
        "DataLoader",
        "TensorDataset",
        "load_dataset",
        "from_dict",
        "from_pandas",
        "from_list",
        "read_csv",
        "read_json",
        "read_parquet",
        "ImageFolder",
        "TextDataset",
    }
)
_DATA_NAME = re.compile(
    r"(?:\w+_)?(?:texts|samples|examples|dataset|corpus|sentences|records|rows|pairs|prompts|data|df|frame|batch)\Z",
    re.IGNORECASE,
)
_PROGRESS = re.compile(
    r"tqdm|trange|progress|spinner|track|print|log|logger|report|callback|wandb|writer|append|replace|display|echo"
    r"|set_description|update_bar|info|status|write|stdout|on_step|notify",
    re.IGNORECASE,
)
_METRIC = re.compile(r"loss|accuracy|acc\b|perplexity|ppl|f1|bleu|rouge|score|metric|error", re.IGNORECASE)


class Decisions:
    """The decisions of one file, by kind, each kind in the order of the text."""

    def __init__(self, file: File) -> None:
        self.file = file
        self.all: list[Decision] = []
        self.app: ast.stmt | None = None
        self.cells = 0
        self.controls: list[tuple[ast.Call, str]] = []
        self.trains = False
        self.framework_trainer: ast.Call | None = None
        self.loops: list[ast.For | ast.While] = []
        self.previews: list[ast.AST] = []
        self.progress: list[ast.Call] = []
        """Where a notebook shows progress: `mo.status.spinner`, `mo.status.progress_bar`."""
        self.charts: list[ast.Call] = []
        self.editable: list[ast.AST] = []
        self._scan()

    @classmethod
    def of(cls, file: File) -> Self:
        """The decisions of `file`; never None."""
        return cls(file)

    def kind(self, kind: str) -> list[Decision]:
        """The decisions of a kind."""
        return [decision for decision in self.all if decision.kind == kind]

    @property
    def notebook(self) -> bool:
        """Whether the file is a notebook: marimo, Markdown, Jupyter, or a script cut by `# %%`."""
        return self.app is not None or self.file.source.kind in ("markdown", "jupyter") or self._percent

    @property
    def program(self) -> bool:
        """Whether the file runs by itself, and is no module that others import."""
        return self.notebook or any(map(_works, self.file.tree.body))

    @property
    def place(self) -> Place:
        """Where a finding about the whole stands: at `app = marimo.App(...)`, else at the first code line."""
        from ..source import Span

        if self.app is not None:
            return self.file.place(self.app)
        text = self.file.source.text
        start = self.file.source.blocks[0].start if self.file.source.blocks else 0
        end = text.find("\n", start)
        return self.file.place(Span(start, len(text) if end < 0 else end))

    def _scan(self) -> None:
        source = self.file.source
        tree = self.file.tree
        self._percent = source.kind == "python" and bool(re.search(r"(?m)^# (?:%%|In\[)", source.text))
        if self._percent:
            self.cells = len(re.findall(r"(?m)^# (?:%%|In\[)(?!.*\[markdown\])", source.text))
        elif source.kind in ("markdown", "jupyter"):
            self.cells = sum(block.language == "python" for block in source.blocks)
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
                if _leaf(statement.value.func) == "App" and "marimo" in source.text:
                    self.app = statement
            elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
                decorators = {
                    _leaf(each.func if isinstance(each, ast.Call) else each)
                    for each in statement.decorator_list
                }
                if "cell" in decorators and not _only_prose(statement):
                    self.cells += 1
        self._loads = {
            node.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        }
        self._attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        self._functions = {
            node.name: node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        self._docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        self._examples = _examples(tree)
        for node in _in_order(tree):
            if isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                self._assignment(node)
            elif isinstance(node, ast.For | ast.While):
                self._loop(node)
            elif isinstance(node, ast.Constant):
                self._constant(node)
            elif isinstance(node, ast.Attribute):
                self._attribute(node)
            elif isinstance(node, ast.Name) and node.id == "Conv1D":
                self._add("architecture", "Conv1D", node)
            elif isinstance(node, ast.Expr) and not isinstance(node.value, ast.Call | ast.Constant):
                self._tail(node)
            elif isinstance(node, ast.ImportFrom | ast.Import):
                self._import(node)
        # Any table may show the data, so each silences the question; the ones that name data come first.
        self.previews.sort(key=lambda node: not self._shows_data(node))

    def _add(self, kind: str, topic: str, node: ast.AST, value: ast.expr | None = None) -> None:
        if not any(decision.kind == kind and decision.topic == topic for decision in self.all):
            text = self.file.source.segment(node).split("\n")[0].strip()
            self.all.append(Decision(kind, topic, node, text, value))

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        names = [alias.name for alias in node.names]
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if module.startswith("peft") or "peft" in names:
            self._add("architecture", "LoRA", node)
        if {"argparse", "click", "typer", "hydra", "tyro", "fire"} & {*names, module.split(".")[0]}:
            self.editable.append(node)
        if {"Trainer", "SFTTrainer", "Seq2SeqTrainer", "DPOTrainer"} & set(names):
            self.trains = True

    def _call(self, node: ast.Call) -> None:
        leaf = _leaf(node.func)
        dotted = _dotted(node.func)
        if leaf == "backward" and isinstance(node.func, ast.Attribute):
            self.trains = True
        elif leaf.endswith("Trainer"):
            self.trains, self.framework_trainer = True, node
        if leaf == "cuda" and isinstance(node.func, ast.Attribute) and not node.func.attr.startswith("is_"):
            self._add("gpu", "GPU", node)
        if leaf in _DATA_CALLS or (leaf.endswith("Dataset") and leaf != "Dataset"):
            self._add("data", "data set", node)
        if leaf == "GradScaler":
            self._add("optimization", "gradient scaling", node)
            self._add("architecture", "FP16", node)
        elif leaf == "autocast":
            self._add("architecture", _precision(node), node)
        elif leaf == "half" and not node.args:
            self._add("architecture", "FP16", node)
        elif leaf in ("clip_grad_norm_", "clip_grad_value_"):
            self._add("optimization", "gradient clipping", node)
        elif leaf in ("checkpoint", "gradient_checkpointing_enable", "activation_checkpointing_enable"):
            if leaf != "checkpoint" or "checkpoint.checkpoint" in dotted or len(node.args) > 1:
                self._add("optimization", "activation checkpointing", node)
        elif leaf in ("BitsAndBytesConfig", "prepare_model_for_kbit_training"):
            self._add("optimization", "quantization", node)
        elif leaf == "Conv1D":
            self._add("architecture", "Conv1D", node)
        if re.search(r"lora", leaf, re.IGNORECASE) or leaf == "get_peft_model":
            self._add("architecture", "LoRA", node)
        for keyword in node.keywords:
            if keyword.arg:
                self._keyword(node, leaf, keyword.arg, keyword.value)
        if ".status." in dotted and leaf in ("spinner", "progress_bar"):
            self.progress.append(node)
        if leaf == "add_argument":
            self.editable.append(node)
        if leaf in _CONTROLS and ".ui." in dotted:
            self.editable.append(node)
            self.controls.append((node, leaf))
        prints_data = leaf in ("print", "pprint") and any(map(self._shows_data, node.args))
        if (
            leaf in _TABLES
            or leaf in ("imshow", "show_batch")
            or (leaf == "head" and not node.args)
            or prints_data
        ):
            self.previews.append(node)
        if _CHARTS.match(dotted) or (dotted.endswith(".Html") and "<svg" in self.file.source.text):
            self.charts.append(node)

    def _keyword(self, call: ast.Call, leaf: str, name: str, value: ast.expr) -> None:
        if name in ("fp16", "bf16") and getattr(value, "value", None) is True:
            self._add("architecture", "FP16" if name == "fp16" else "BF16", value)
        elif name in ("load_in_4bit", "load_in_8bit"):
            self._add("optimization", "quantization", value)
        elif name == "gradient_checkpointing" and getattr(value, "value", None) is True:
            self._add("optimization", "activation checkpointing", value)
        elif name == "device_map":
            self._add("gpu", "GPU", value)
        topic = _hyperparameter(name)
        if (
            topic
            and _number(value)
            and (name not in _AMBIGUOUS or _ADAPTER_CALL.search(leaf) or _fits(topic, leaf))
        ) or (topic and _control(value)):
            self._add("hyperparameter", topic, value, value)

    def _assignment(self, node: ast.Assign | ast.AnnAssign) -> None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        value = node.value
        if value is None or len(targets) != 1:
            return
        pairs: list[tuple[ast.expr, ast.expr]] = [(targets[0], value)]
        if isinstance(targets[0], ast.Tuple) and isinstance(value, ast.Tuple):
            pairs = list(zip(targets[0].elts, value.elts, strict=False))
        for target, given in pairs:
            name = (
                target.id
                if isinstance(target, ast.Name)
                else target.attr
                if isinstance(target, ast.Attribute)
                else ""
            )
            used = name in self._loads if isinstance(target, ast.Name) else True
            used = used or name in self._attributes
            topic = _hyperparameter(name)
            if topic and used and (_number(given) or _control(given)):
                self._add("hyperparameter", topic, node, given)
            if (
                isinstance(given, ast.List | ast.Tuple)
                and len(given.elts) >= 3
                and _DATA_NAME.match(name)
                and all(_is_example(element) for element in given.elts)
            ):
                self._add("data", "data set", node)
            if topic == "accumulation":
                self._add("optimization", "gradient accumulation", node)

    def _loop(self, node: ast.For | ast.While) -> None:
        match node:
            case ast.For(
                target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=[*_, given])
            ):
                if (topic := _hyperparameter(name)) and _number(given):
                    self._add("hyperparameter", topic, given, given)
        inside = [
            each for each in ast.walk(node) if isinstance(each, ast.Call) and _leaf(each.func) == "backward"
        ]
        if inside and not any(inner is node for loop in self.loops for inner in ast.walk(loop)):
            self.loops.append(node)

    def _constant(self, node: ast.Constant) -> None:
        if not isinstance(node.value, str) or id(node) in self._docstrings:
            return
        if node.value == "cuda" or re.fullmatch(r"cuda:\d+", node.value):
            self._add("gpu", "GPU", node)
        elif node.value == "Conv1D":
            self._add("architecture", "Conv1D", node)

    def _attribute(self, node: ast.Attribute) -> None:
        if node.attr == "Conv1D":
            self._add("architecture", "Conv1D", node)
        elif (
            node.attr in ("float16", "half") and isinstance(node.value, ast.Name) and node.value.id == "torch"
        ):
            self._add("architecture", "FP16", node)
        elif node.attr == "bfloat16":
            self._add("architecture", "BF16", node)

    def _tail(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Name | ast.Attribute | ast.Subscript) and self._shows_data(node.value):
            self.previews.append(node)

    def _shows_data(self, node: ast.AST) -> bool:
        """Whether an expression shows data: a data set, a frame, or an element taken from one."""
        return _names_data(node) or any(
            isinstance(inner, ast.Name) and inner.id in self._examples for inner in ast.walk(node)
        )

    def shows_progress(self, loop: ast.For | ast.While) -> bool:
        """Whether anything tells a reader that the loop gets on, also through functions of this file."""
        seen: set[str] = set()
        queue: list[ast.AST] = [loop]
        while queue:
            for node in ast.walk(queue.pop()):
                if not isinstance(node, ast.Call):
                    continue
                leaf = _leaf(node.func)
                if _PROGRESS.search(leaf) and not (leaf == "append" and ".output" not in _dotted(node.func)):
                    return True
                if leaf in self._functions and leaf not in seen:
                    seen.add(leaf)
                    queue.append(self._functions[leaf])
        around = [
            node
            for node in ast.walk(self.file.tree)
            if isinstance(node, ast.With | ast.AsyncWith) and any(inner is loop for inner in ast.walk(node))
        ]
        return any(_PROGRESS.search(ast.unparse(item.context_expr)) for node in around for item in node.items)

    def unlabelled(self) -> Iterator[tuple[ast.Call, str]]:
        """The controls that neither have a label nor stand inside a sentence, a batch or a dictionary."""
        inside: set[int] = set()
        spoken: set[str] = set()
        for node in ast.walk(self.file.tree):
            beside: list[ast.expr | None] = []
            if isinstance(node, ast.FormattedValue):
                beside = [node.value]
            elif isinstance(node, ast.Dict):
                beside = list(node.values)
            elif isinstance(node, ast.Call) and _leaf(node.func) in ("batch", "dictionary"):
                beside = [*node.args, *(keyword.value for keyword in node.keywords)]
            elif isinstance(node, ast.List | ast.Tuple) and any(map(_is_text, node.elts)):
                beside = list(node.elts)
            inside.update(id(each) for each in beside)
            spoken.update(each.id for each in beside if isinstance(each, ast.Name))
        names = {
            id(node.value): target.id
            for node in ast.walk(self.file.tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for call, leaf in self.controls:
            name = names.get(id(call), "")
            labelled = any(keyword.arg in ("label", None) for keyword in call.keywords)
            if not labelled and id(call) not in inside and name not in spoken:
                yield call, name or leaf


def _in_order(tree: ast.Module) -> Iterator[ast.AST]:
    """All nodes, as they stand in the text."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(list(ast.iter_child_nodes(node))))


def _leaf(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _dotted(node: ast.expr) -> str:
    """A chain of attributes as text; calls and subscripts in it are left out."""
    parts: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Call):
            node = node.func
        elif isinstance(node, ast.Subscript):
            node = node.value
        else:
            if isinstance(node, ast.Name):
                parts.append(node.id)
            return ".".join(reversed(parts))


def _hyperparameter(name: str) -> str | None:
    return next((topic for topic, pattern in _HYPER.items() if pattern.match(name)), None)


def _precision(autocast: ast.Call) -> str:
    """Which precision an autocast has, as far as its own text tells."""
    text = ast.unparse(autocast)
    if "bfloat16" in text:
        return "BF16"
    if "float16" in text or ".half" in text:
        return "FP16"
    return "BF16" if "'cpu'" in text else "mixed precision"


def _fits(topic: str, leaf: str) -> bool:
    """Whether an ambiguous keyword belongs to a call of training."""
    if topic in ("dropout", "momentum", "weight decay"):
        return True
    return bool(re.search(r"optim|adam|sgd|trainer|training|config|loader|tokenizer", leaf, re.IGNORECASE))


def _number(node: ast.expr) -> bool:
    if isinstance(node, ast.UnaryOp):
        node = node.operand
    return isinstance(node, ast.Constant) and type(node.value) in (int, float) and node.value not in (0, 1)


def _control(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and _leaf(node.func) in _CONTROLS and ".ui." in _dotted(node.func)


def _is_example(node: ast.expr) -> bool:
    """Whether an element of a list is an example of data: a text, or a record or pair of texts."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and len(node.value) >= 12
    if isinstance(node, ast.Dict):
        return any(isinstance(value, ast.Constant) and isinstance(value.value, str) for value in node.values)
    return isinstance(node, ast.Tuple | ast.List) and any(_is_example(element) for element in node.elts)


def _names_data(node: ast.AST) -> bool:
    """Whether an expression shows data: a data set, a frame, or an element of one."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and _leaf(inner.func) in ("len", "type"):
            return False
        if isinstance(inner, ast.Name) and _DATA_NAME.match(inner.id):
            return True
    return False


def _is_text(node: ast.expr) -> bool:
    """Whether an element of a layout is text that can name the control beside it."""
    if isinstance(node, ast.Call):
        return _leaf(node.func) == "md"
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


_TAKES = frozenset({"zip", "enumerate", "iter", "next", "list", "tuple", "sorted", "reversed"})


def _examples(tree: ast.Module) -> set[str]:
    """The names that hold elements of data: taken out by an index, a loop or a plain copy, not computed."""
    found: set[str] = set()
    for node in _in_order(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target, value = node.targets[0], node.value
        elif isinstance(node, ast.For):
            target, value = node.target, node.iter
        else:
            continue
        calls = [_leaf(inner.func) for inner in ast.walk(value) if isinstance(inner, ast.Call)]
        names = {inner.id for inner in ast.walk(value) if isinstance(inner, ast.Name)}
        if all(call in _TAKES for call in calls) and (_names_data(value) or names & found):
            found.update(inner.id for inner in ast.walk(target) if isinstance(inner, ast.Name))
    return found


def _only_prose(cell: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a cell shows text and does nothing else."""
    body = [statement for statement in cell.body if not isinstance(statement, ast.Return)]
    return (
        len(body) == 1
        and isinstance(body[0], ast.Expr)
        and _leaf(getattr(body[0].value, "func", ast.Name("", ast.Load()))) == "md"
    )


def _works(statement: ast.stmt) -> bool:
    """Whether a statement of a module does work when it runs: a main guard, a loop, a call that trains."""
    if isinstance(statement, ast.If):
        return "__main__" in ast.dump(statement.test) or any(map(_works, statement.body))
    if isinstance(statement, ast.For | ast.While):
        return True
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        return _leaf(statement.value.func) not in (
            "warn",
            "filterwarnings",
            "insert",
            "basicConfig",
            "append",
        )
    return False


def constant_rounds(loop: ast.For | ast.While) -> int | None:
    """How often a loop of constant ranges runs its innermost body; None where that is unknown."""
    total = 1
    for node in ast.walk(loop):
        if isinstance(node, ast.While):
            return None
        if isinstance(node, ast.For):
            match node.iter:
                case ast.Call(func=ast.Name(id="range"), args=[ast.Constant(value=int(number))]):
                    total *= number
                case ast.List(elts=elements) | ast.Tuple(elts=elements):
                    total *= len(elements)
                case _:
                    return None
    return total


def metric_text(text: str) -> bool:
    """Whether a text names a measure of training."""
    return bool(_METRIC.search(text))
