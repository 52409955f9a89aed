"""QA1123: the spellings of AMP that torch 2.4 deprecated."""

from __future__ import annotations

import ast
from typing import NamedTuple

from qalint.analysis.concrete import Concrete
from qalint.analysis.edits import Changes, Edits
from qalint.analysis.names import Binding, Names
from qalint.rule import Finding, Iterator, Rule, Severity

from .amp import has_modern_twin, torch_below, unpacks

_NAMES = ("GradScaler", "autocast", "custom_fwd", "custom_bwd")
_DEPRECATED = {
    f"torch.{device}.amp.{name}": (device, name)
    for device in ("cuda", "cpu")
    for name in _NAMES
    if device == "cuda" or name in ("GradScaler", "autocast")
}
_SINCE = {"GradScaler": (2, 3), "custom_fwd": (2, 4), "custom_bwd": (2, 4)}
_MODULES = {
    f"torch.{device}.{path}": f"torch.{new}"
    for device in ("cuda", "cpu")
    for path, new in (
        ("amp", "amp"),
        ("amp.grad_scaler", "amp"),
        ("amp.autocast_mode", "amp"),
    )
}


class Use(NamedTuple):
    """One place that reads a deprecated object. `changes` are what its call needs, None if unknown."""

    chain: ast.expr
    device: str
    name: str
    changes: Changes | None
    binding: Binding | None


class DeprecatedAmpApi(Rule):
    """A deprecated spelling of AMP is used.

    ## What it does
    Finds `torch.cuda.amp.GradScaler`, `torch.cuda.amp.autocast`, their `torch.cpu.amp` twins and
    `custom_fwd`/`custom_bwd`, in every form in which they can be imported, aliased, used as a
    decorator or wrapped in `functools.partial`.

    ## Why is this bad?
    torch 2.4 and later emit a `FutureWarning` at each construction; for `autocast` that is once in
    every iteration. The old classes only know one device: on a machine without CUDA they disable
    themselves with a warning, and the program silently trains in FP32.

    ## Example
    ```python
    from torch.cuda.amp import GradScaler, autocast

    scaler = GradScaler(init_scale=1024)
    with autocast(use_amp):
        loss = model(x).sum()
    ```

    ## Use instead
    ```python
    from torch.amp import GradScaler, autocast

    scaler = GradScaler("cuda", init_scale=1024)
    with autocast("cuda", enabled=use_amp):
        loss = model(x).sum()
    ```

    ## Fix safety
    The fix is safe: it names the device that the old class implied, and moves positional arguments,
    whose order differs (`torch.cuda.amp.autocast(True)` enables; `torch.amp.autocast("cuda", True)`
    would be a dtype). A `from` import is rewritten together with all its uses, or not at all. Nothing
    is reported where the new API does not exist yet: `torch.amp.GradScaler` came with torch 2.3,
    `torch.amp.custom_fwd` with 2.4 (see the setting `torch-version`), nor where another arm of a
    version test or of `try`/`except` uses the new spelling.

    ## Beyond the checklist
    The checklist's own example of a training step uses the old spelling; it is right in all but this.

    ## References
    - [torch.amp](https://docs.pytorch.org/docs/stable/amp.html)
    """

    code = "QA1123"
    severity = Severity.MEDIUM
    needles = ((b"GradScaler", b"autocast", b"custom_fwd", b"custom_bwd"),)
    fix = "safe"
    fix_availability = "sometimes"
    oracle = "cpu"

    def check(self, names: Names, edits: Edits, concrete: Concrete) -> Iterator[Finding]:
        """Report each use; uses of one `from` import share one fix."""
        chains = list(names.reads(*_DEPRECATED))
        wanted = {chain for chain in chains if self.speaks(names, edits, chain)}
        if not wanted:
            return  # nothing is asked of the concrete syntax
        uses = [self.use(names, edits, concrete, chain) for chain in chains]
        for use in uses:
            if use.chain not in wanted:
                continue
            old = f"torch.{use.device}.amp.{use.name}"
            arguments = f'"{use.device}", ...' if use.name != "custom_fwd" else f'device_type="{use.device}"'
            if use.name == "custom_bwd":
                arguments = f'device_type="{use.device}"'
            changes = self.changes(names, edits, concrete, use, uses)
            yield self.finding(
                names.file.place(use.chain),
                f"`{old}` is deprecated",
                help=f"use `torch.amp.{use.name}({arguments})`",
                fix=edits.safe(f"Use `torch.amp.{use.name}`", changes),
            )

    def speaks(self, names: Names, edits: Edits, chain: ast.expr) -> bool:
        """Whether this use is a finding."""
        _, name = _DEPRECATED[names.canonical(chain) or ""]
        if torch_below(names.file, *_SINCE.get(name, (0,))):
            return False
        if self.is_alias(names, chain) or self.only_names(edits, chain):
            return False  # the alias itself is reported; an annotation warns of nothing
        return not has_modern_twin(names, edits, chain, frozenset({f"torch.amp.{name}"}))

    @staticmethod
    def is_alias(names: Names, chain: ast.expr) -> bool:
        """Whether the name comes from a plain assignment in this file."""
        root = chain
        while isinstance(root, ast.Attribute):
            root = root.value
        return any(
            item.kind == "assign" and not isinstance(item.value, ast.Constant)
            for item in names.bindings(root)
        )

    def only_names(self, edits: Edits, chain: ast.expr) -> bool:
        """Whether the class is named in an annotation or an `isinstance` test, and nothing is made."""
        holder = edits.parent(chain)
        if isinstance(holder, ast.Call) and isinstance(holder.func, ast.Name):
            return holder.func.id == "isinstance" and holder.func is not chain
        return any(self.annotates(item, child) for item, child in edits.holders(chain))

    def use(self, names: Names, edits: Edits, concrete: Concrete, chain: ast.expr) -> Use:
        """What `chain` reads, and what has to change around it."""
        device, name = _DEPRECATED[names.canonical(chain) or ""]
        root = chain
        while isinstance(root, ast.Attribute):
            root = root.value
        bindings = names.bindings(root)
        same = {item.qualified for item in bindings if item.kind == "import"}
        # `import torch` and `import torch.utils.checkpoint` bind one name to one module.
        once = len(bindings) == 1 or (same == {"torch"} and all(item.kind == "import" for item in bindings))
        binding = bindings[0] if once else None
        changes = self.arguments(names, edits, concrete, chain, device, name)
        return Use(chain, device, name, changes, binding)

    def arguments(
        self, names: Names, edits: Edits, concrete: Concrete, chain: ast.expr, device: str, name: str
    ) -> Changes | None:
        """The changes of the call around `chain`; empty where only the name matters; None if unknown."""
        holder = edits.parent(chain)
        if isinstance(holder, ast.Call) and holder.func is chain:
            return self.call(concrete, holder, device, name)
        if isinstance(holder, ast.Call) and names.canonical(holder.func) == "functools.partial":
            if holder.args and holder.args[0] is chain and name in ("GradScaler", "autocast"):
                return self.partial(concrete, holder, device, name)
            return None
        if isinstance(holder, (ast.FunctionDef, ast.AsyncFunctionDef)) and chain in holder.decorator_list:
            if name in ("custom_fwd", "custom_bwd"):
                return concrete.after(chain, f'(device_type="{device}")')
            return None
        if self.only_names(edits, chain):
            return ()
        return self.alias(edits, holder, chain)

    @staticmethod
    def annotates(holder: ast.AST, child: ast.AST) -> bool:
        """Whether `child` is the annotation that `holder` carries."""
        return child is getattr(holder, "annotation", None) or child is getattr(holder, "returns", None)

    @staticmethod
    def alias(edits: Edits, holder: ast.AST | None, chain: ast.expr) -> Changes | None:
        """`GS = torch.cuda.amp.GradScaler`: the uses of the alias are changed with it."""
        if isinstance(holder, (ast.Assign, ast.AnnAssign)) and holder.value is chain:
            targets = holder.targets if isinstance(holder, ast.Assign) else [holder.target]
            if len(targets) == 1 and isinstance(targets[0], ast.Name):
                return ()
        return None

    @staticmethod
    def call(concrete: Concrete, call: ast.Call, device: str, name: str) -> Changes | None:
        """Name the device, and by keyword what was positional where the order differs."""
        if name in ("custom_fwd", "custom_bwd"):
            return (
                None
                if call.args or unpacks(call)
                else concrete.first_argument(call, f'device_type="{device}"')
            )
        first = concrete.first_argument(call, f'"{device}"')
        if first is None or name == "GradScaler":
            return first
        keywords = DeprecatedAmpApi.named(concrete, call, call.args)
        return None if keywords is None else (*first, *keywords)

    @staticmethod
    def partial(concrete: Concrete, call: ast.Call, device: str, name: str) -> Changes | None:
        """`partial(autocast, True)` becomes `partial(autocast, "cuda", enabled=True)`."""
        first = concrete.after_argument(call, call.args[0], f', "{device}"')
        keywords = DeprecatedAmpApi.named(concrete, call, call.args[1:]) if name == "autocast" else ()
        return None if first is None or keywords is None else (*first, *keywords)

    @staticmethod
    def named(concrete: Concrete, call: ast.Call, positional: list[ast.expr]) -> Changes | None:
        """`enabled, dtype, cache_enabled` by keyword."""
        if any(isinstance(item, ast.Starred) for item in positional) or len(positional) > 3:
            return None
        changes: Changes = ()
        for item, keyword in zip(positional, ("enabled", "dtype", "cache_enabled"), strict=False):
            named = concrete.name_argument(call, item, keyword)
            if named is None:
                return None
            changes += named
        return changes

    def changes(
        self, names: Names, edits: Edits, concrete: Concrete, use: Use, uses: list[Use]
    ) -> Changes | None:
        """All that one fix changes: this use alone, or with everything that hangs on its import or alias."""
        binding = use.binding
        if binding is None:
            return None
        if binding.kind == "import" and binding.qualified == "torch":
            return self.alone(names, edits, concrete, use, uses)
        statement = binding.statement
        if isinstance(statement, ast.ImportFrom) and not statement.level:
            return self.from_import(names, edits, concrete, statement, uses)
        if isinstance(statement, ast.Import) and binding.qualified in _MODULES:
            alias = binding.node
            assert isinstance(alias, ast.alias)
            group = self.hanging(names, edits, [binding], uses)
            renamed = concrete.imported(alias, _MODULES[binding.qualified])
            return None if group is None or renamed is None else (*group, *renamed)
        return self.alone(names, edits, concrete, use, uses)

    def alone(
        self, names: Names, edits: Edits, concrete: Concrete, use: Use, uses: list[Use]
    ) -> Changes | None:
        """Spell this use anew, and change the calls of the alias that it defines."""
        if use.changes is None:
            return None
        found = edits.spelling(f"torch.amp.{use.name}", use.chain)
        if found is None:
            return None
        text, imports = found
        renamed = concrete.rename(use.chain, text)
        if renamed is None:
            return None
        changes = [*imports, *renamed, *use.changes]
        holder = edits.parent(use.chain)
        if isinstance(holder, (ast.Assign, ast.AnnAssign)) and holder.value is use.chain:
            target = holder.targets[0] if isinstance(holder, ast.Assign) else holder.target
            hung = [item for item in uses if item.binding is not None and item.binding.node is target]
            if any(item.changes is None for item in hung):
                return None
            if isinstance(target, ast.Name) and len(names.bindings(target)) != 1:
                return None
            changes += [edit for item in hung for edit in item.changes or ()]
        return tuple(changes)

    def from_import(
        self, names: Names, edits: Edits, concrete: Concrete, statement: ast.ImportFrom, uses: list[Use]
    ) -> Changes | None:
        """Rewrite the module of a `from` import whose names are all affected, with all their uses."""
        module = statement.module or ""
        bindings = [item for item in names.imports() if item.statement is statement]
        if module in _MODULES:
            new = _MODULES[module]
            if any((item.qualified or "").rpartition(".")[2] not in _NAMES for item in bindings):
                return None
        elif module in ("torch.cuda", "torch.cpu") and all(
            item.name and item.qualified == f"{module}.amp" for item in bindings
        ):
            new = "torch"
        else:
            return None
        group = self.hanging(names, edits, bindings, uses)
        renamed = concrete.imported_from(statement, new)
        return None if group is None or renamed is None else (*group, *renamed)

    @staticmethod
    def hanging(names: Names, edits: Edits, bindings: list[Binding], uses: list[Use]) -> Changes | None:
        """The changes of every read of the imported names; None if one of them cannot be changed."""
        changes: Changes = ()
        known = {id(use.chain): use for use in uses}
        nodes = {id(item.node) for item in bindings}
        for chain in names.references:
            root = chain
            while isinstance(root, ast.Attribute):
                root = root.value
            found = names.bindings(root)
            if not any(id(item.node) in nodes for item in found):
                continue
            use = known.get(id(chain))
            if use is None or use.changes is None or len(found) != 1:
                return None
            changes += tuple(edit for edit in use.changes if edit not in changes)
            holder = edits.parent(chain)
            if isinstance(holder, (ast.Assign, ast.AnnAssign)) and holder.value is chain:
                target = holder.targets[0] if isinstance(holder, ast.Assign) else holder.target
                if isinstance(target, ast.Name) and len(names.bindings(target)) != 1:
                    return None
                for item in uses:
                    if item.binding is not None and item.binding.node is target:
                        if item.changes is None:
                            return None
                        changes += item.changes
        for binding in bindings:
            if torch_below(names.file, *_SINCE.get((binding.qualified or "").rpartition(".")[2], (0,))):
                return None
        return changes
