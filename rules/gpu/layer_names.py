"""Names of layers: do they belong to the model that is loaded?"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from qalint.analysis.edits import Edits
from qalint.analysis.modules import Adapters, Event, Guard, Injection, Modules, named
from qalint.analysis.modules.families import BY_NAME, DISTINCT, Family
from qalint.analysis.modules.hub import PeftConfig
from qalint.analysis.modules.needles import RUN, WALK
from qalint.analysis.modules.subjects import loaded
from qalint.analysis.modules.tensors import strings_of
from qalint.analysis.modules.values import Const, Mod, Seq, Site, Unknown, Value, each
from qalint.rule import Finding, Fix, Option, Related, Rule, Severity

from .own_names import absent, changed, parts_of

OPTION = {
    "families": Option(
        [],
        list,
        "further families, or other layers of known ones: `gpt2=c_attn,c_proj,c_fc,my_proj`",
    )
}


def layers_of(name: str, option: list[str]) -> frozenset[str] | None:
    """The adaptable layers of a family, with what the option adds."""
    for entry in option:
        family, _, layers = str(entry).partition("=")
        if family.strip() == name:
            return frozenset(layer.strip() for layer in layers.split(",") if layer.strip())
    family_ = BY_NAME.get(name)
    return family_.layers if family_ is not None else None


def known(names: set[str] | frozenset[str]) -> frozenset[str]:
    """Those of some strings that name layers of a known family: `c_attn`, `self_attn.q_proj`."""
    return frozenset(name for name in names if name.rsplit(".", 1)[-1] in DISTINCT)


def foreign(names: frozenset[str], layers: frozenset[str]) -> bool:
    """Whether none of the names is one of the family's layers."""
    return bool(names) and not any(name.rsplit(".", 1)[-1] in layers for name in names)


class WrongLayerNames(Rule):
    """The layer names that are asked for are not those of the model that is loaded.

    ## What it does
    Finds injections and `target_modules` whose names are all of another family than the model that is
    loaded by name: `q_proj` with a GPT-2, `c_attn` with a LLaMA or Mistral. In a model that the program
    writes, and all of which is in sight, names that no part of it has.

    ## Why is this bad?
    Nothing matches. A hand-written injection then adapts nothing, and the optimizer is empty
    (`ValueError: optimizer got an empty parameter list`) or trains what it should not; peft raises
    `Target modules ... not found in the base model`.

    ## Example
    ```python
    model = AutoModelForCausalLM.from_pretrained("gpt2")
    config = LoraConfig(target_modules=["q_proj", "v_proj"])
    ```

    ## Use instead
    ```python
    model = AutoModelForCausalLM.from_pretrained("gpt2")
    config = LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True)
    ```

    ## Fix safety
    The fix replaces the names in the list by the attention layers of the model's family. It is unsafe:
    which layers to adapt is a choice.

    ## Options
    `families`: entries `family=layer,layer` that widen or replace the table of known families.

    ## References
    - [peft: target_modules](https://huggingface.co/docs/peft/package_reference/lora)
    """

    code = "QA1701"
    severity = Severity.CRITICAL
    checklist = ("17.03",)
    fix = "unsafe"
    fix_availability = "sometimes"
    oracle = "cpu"
    needles = (
        (b"target_modules", *WALK),
        (b"_proj", b"c_attn", b"c_fc", b"query_key_value", *RUN),
        (b"from_pretrained", b"from_config", b"transformers", *RUN),
    )
    subject = staticmethod(loaded)
    options = OPTION

    def check(self, modules: Modules, adapters: Adapters) -> Iterator[Finding]:
        """Names of another family in injections by hand, and in peft's configurations."""
        seen: set[ast.AST] = set()
        for injection in adapters.injections:
            family = injection.model.family
            if family is None or injection.model.cls is not None:
                continue
            layers = layers_of(family, self.values["families"])
            if layers is None:
                continue
            for event in injection.events:
                if event.how == "peft":
                    finding = self.peft(modules, injection, event, layers)
                else:
                    finding = self.by_hand(modules, injection, event, layers)
                if finding is not None and finding[0] not in seen:
                    seen.add(finding[0])
                    yield finding[1]
        for event in modules.all("match"):
            root = event.target.root
            layers = layers_of(root.family, self.values["families"]) if root.family is not None else None
            if layers is None or root.cls is not None:
                continue
            finding = self.by_hand(modules, Injection(root, event.program), event, layers)
            if finding is not None and finding[0] not in seen:
                seen.add(finding[0])
                yield finding[1]
        for injection in adapters.injections:
            finding = self.own(modules, injection)
            if finding is not None and finding[0] not in seen:
                seen.add(finding[0])
                yield finding[1]

    def own(self, modules: Modules, injection: Injection) -> tuple[ast.AST, Finding] | None:
        """Names that no part of a model has which the program writes itself."""
        model = injection.model
        if injection.peft or not model.loaded:
            return None
        asked = [name_guards(event) for event in injection.events]
        if not all(asked):
            return None
        parts = parts_of(model)
        if parts is None or changed(modules, model, injection.events):
            return None
        if not all(any(absent(texts(guard), parts) for guard in guards) for guards in asked):
            return None
        event = injection.first
        guard = next(guard for guard in asked[0] if absent(texts(guard), parts))
        names = texts(guard)
        written = strings_site(modules, names, event.site) or Site(guard.node, event.site.file)
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        has = sorted({part.rsplit(".", 1)[-1] for part in parts})
        return written.node, self.finding(
            modules.place(written),
            f"{listed}: `{injection.name}` has no such layers, so nothing matches",
            related=self.related(modules, injection, event.site),
            help=f"its layers are called {', '.join(has[:8])}" if has else "",
        )

    def peft(
        self, modules: Modules, injection: Injection, event: Event, layers: frozenset[str]
    ) -> tuple[ast.AST, Finding] | None:
        """`target_modules` of a peft configuration."""
        config = event.value
        if not isinstance(config, PeftConfig):
            return None
        value = config.kwargs.get("target_modules")
        if value is None:
            return None
        names = known(strings_of(value))
        lists = each(value)  # one of several: none of them may match
        if not all(
            known(strings_of(one)) and exact(one) and foreign(frozenset(strings_of(one)), layers)
            for one in lists
        ):
            return None
        site = site_of(lists[0]) or config.site
        assert site is not None
        return site.node, self.finding(
            modules.place(site),
            self.message(names, injection),
            related=self.related(modules, injection, event.site),
            fix=rename(site, injection.model.family or "", flagged(config)) if len(lists) == 1 else None,
            help=f"layers of this family are {', '.join(sorted(layers)[:6])}",
        )

    def by_hand(
        self, modules: Modules, injection: Injection, event: Event, layers: frozenset[str]
    ) -> tuple[ast.AST, Finding] | None:
        """The names that the tests on the way to an injection ask for."""
        guards = [
            guard
            for guard in event.guards
            if guard.outcome and isinstance(guard.value, Unknown) and guard.value.name_of is not None
        ]
        for guard in guards:
            assert isinstance(guard.value, Unknown)
            names = guard.value.strings
            if known(names) and foreign(names, layers) and len(known(names)) == len(names):
                site = Site(guard.node, event.site.file)
                written = strings_site(modules, names, event.site) or site
                return written.node, self.finding(
                    modules.place(written),
                    self.message(known(names), injection),
                    related=self.related(modules, injection, event.site),
                    fix=rename(written, injection.model.family or ""),
                    help=f"layers of this family are {', '.join(sorted(layers)[:6])}",
                )
        return None

    @staticmethod
    def message(names: frozenset[str], injection: Injection) -> str:
        """What is wrong."""
        listed = ", ".join(f"`{name}`" for name in sorted(names))
        return (
            f"{listed}: `{injection.name}` is a {injection.model.family} and has no "
            "such layers, so nothing matches"
        )

    @staticmethod
    def related(modules: Modules, injection: Injection, site: Site) -> list[Related]:
        """Where the model is named and where the adapters go in."""
        related = [Related(modules.place(site), "they are asked for here")]
        if injection.model.model_id is not None:
            related.insert(0, Related(modules.place(injection.model.model_id), "the model is chosen here"))
        return related


def name_guards(event: Event) -> list[Guard]:
    """The tests of a walked module's name that an event has passed, where they ask for texts."""
    return [
        guard
        for guard, value in named(event)
        if value.name_of is not None and value.name_of.path == "*" and not otherwise(guard.node)
    ]


def otherwise(test: ast.AST) -> bool:
    """Whether a test asks what a name does not hold, or whether a pattern fits it."""
    return any(
        isinstance(node, ast.Not | ast.NotIn | ast.NotEq)
        or (isinstance(node, ast.Attribute) and node.attr in PATTERNS)
        or (isinstance(node, ast.Name) and node.id in PATTERNS)
        for node in ast.walk(test)
    )


PATTERNS = frozenset({"search", "match", "fullmatch", "findall", "fnmatch", "fnmatchcase"})


def texts(guard: Guard) -> frozenset[str]:
    """The strings that a test asks for."""
    return frozenset(strings_of(guard.value))


def exact(value: Value) -> bool:
    """Whether all names of a list are seen."""
    if isinstance(value, Seq):
        return not value.open and all(isinstance(item, Const) for item in value.items)
    return isinstance(value, Const)


def site_of(value: Value) -> Site | None:
    """Where a list of names is written."""
    return value.site if isinstance(value, Seq | Const) else None


def strings_site(modules: Modules, names: frozenset[str], near: Site) -> Site | None:
    """The list or string in which the names are written, looked for in the injection's file first."""
    files = [
        near.file,
        *(scope.file for scope in modules.run.modules.values() if scope.file is not near.file),
    ]
    for file in files:
        for node in ast.walk(file.tree):
            if isinstance(node, ast.List | ast.Tuple | ast.Set) and node.elts:
                texts = {
                    e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)
                }
                if texts == names:
                    return Site(node, file)
    for file in files:
        for node in ast.walk(file.tree):
            if isinstance(node, ast.Constant) and len(names) == 1 and node.value in names:
                return Site(node, file)
    return None


def flagged(config: PeftConfig) -> Site | None:
    """Where a LoRA configuration that does not say `fan_in_fan_out` would say it."""
    silent = config.kind == "LoraConfig" and not config.kwargs.keys() & {"fan_in_fan_out", "**"}
    return config.site if silent else None


def rename(site: Site, family: str, config: Site | None = None) -> Fix | None:
    """Write the attention layers of the family into a list of names; GPT-2's are stored as (in, out),
    which its configuration then says (or `QA1711` would).
    """
    edits = site.file.get(Edits)
    names = {"gpt2": ["c_attn", "c_proj"]}.get(family)
    entry = BY_NAME.get(family)
    if names is None and entry is not None and "q_proj" in entry.layers:
        names = ["q_proj", "v_proj"]
    if (
        edits is None
        or names is None
        or not isinstance(site.node, ast.List | ast.Tuple | ast.Set)
        or not site.node.elts
    ):
        return None
    text = ", ".join(f'"{name}"' for name in names)
    opening, closing = {"List": ("[", "]"), "Tuple": ("(", ")"), "Set": ("{", "}")}[type(site.node).__name__]
    changes = [edits.replace(site.node, f"{opening}{text}{closing}")]
    if entry is not None and entry.conv1d and config is not None and isinstance(config.node, ast.Call):
        if config.file is site.file:
            changes.append(edits.add_argument(config.node, "fan_in_fan_out=True") or ())
    return edits.unsafe(f"name the layers of {family}", *changes)


class SingleArchitectureInjection(Rule):
    """Layer names of one family only, in code whose model is chosen at run time.

    ## What it does
    Finds injections that ask for the layers of one family, where the model's name comes from outside
    the program (an argument, a widget, a configuration).

    ## Why is this bad?
    With a model of another family nothing matches, or the layers are of a type that the code does not
    expect. Whether that can happen is for the author to say, so the rule is off by default.

    ## Example
    ```python
    model = AutoModelForCausalLM.from_pretrained(args.model)
    for name, layer in list(model.named_modules()):
        if name.endswith("c_attn"):
            inject(model, name, layer)
    ```

    ## Use instead
    ```python
    TARGETS = {"gpt2": ("c_attn",), "llama": ("q_proj", "v_proj"), "mistral": ("q_proj", "v_proj")}
    targets = TARGETS[model.config.model_type]
    ```

    ## Fix safety
    No fix: which models are to be supported is the author's to say.

    ## Options
    `families`: as in `wrong-layer-names`.

    ## References
    - [peft: target_modules](https://huggingface.co/docs/peft/package_reference/lora)
    """

    code = "QA1702"
    severity = Severity.MEDIUM
    default = False
    checklist = ("17.04",)
    oracle = "cpu"
    needles = (WALK,)
    options = OPTION

    def check(self, modules: Modules, adapters: Adapters) -> Iterator[Finding]:
        """Injections into a model of unknown family by the names of one."""
        for injection in adapters.injections:
            model = injection.model
            if model.family is not None or model.cls is not None or injection.peft or not model.loaded:
                continue
            given = model.args.get("0") or model.args.get("pretrained_model_name_or_path")
            if given is None or isinstance(given, Const):
                continue
            names: frozenset[str] = frozenset()
            for event in injection.events:
                for guard in event.guards:
                    if isinstance(guard.value, Unknown) and guard.value.name_of is not None:
                        names |= known(guard.value.strings)
            last = {name.rsplit(".", 1)[-1] for name in names}
            if not last:
                continue
            gpt2, others = last & BY_NAME["gpt2"].layers, last - BY_NAME["gpt2"].layers
            if gpt2 and others:
                continue
            event = injection.first
            yield self.finding(
                modules.place(event.site),
                f"only {', '.join(f'`{name}`' for name in sorted(names))} are asked for, "
                f"but `{injection.name}` is chosen at run time",
                related=[Related(modules.place(model.site), "the model is loaded here")]
                if model.site
                else [],
                help="choose the names by the model's type (model.config.model_type)",
            )


class PeftConv1dFlag(Rule):
    """`fan_in_fan_out` of a peft configuration does not fit the model's layers.

    ## What it does
    Finds `LoraConfig` without `fan_in_fan_out=True` for a GPT-2, and with it for a model of `nn.Linear`
    layers, where the model is loaded by name.

    ## Why is this bad?
    GPT-2's `Conv1D` stores its weight as (in, out), which peft calls fan_in_fan_out. Current versions
    of peft warn and correct it by themselves; old ones merged the adapters wrongly.

    ## Example
    ```python
    model = AutoModelForCausalLM.from_pretrained("gpt2")
    model = get_peft_model(model, LoraConfig(target_modules=["c_attn"]))
    ```

    ## Use instead
    ```python
    model = AutoModelForCausalLM.from_pretrained("gpt2")
    model = get_peft_model(model, LoraConfig(target_modules=["c_attn"], fan_in_fan_out=True))
    ```

    ## Fix safety
    The fix sets the flag as peft itself would. It is safe.

    ## References
    - [peft: LoraConfig](https://huggingface.co/docs/peft/package_reference/lora)
    """

    code = "QA1711"
    severity = Severity.LOW
    checklist = ("17.03",)
    fix = "safe"
    fix_availability = "always"
    oracle = "cpu"
    needles = ((b"LoraConfig",),)

    def check(self, modules: Modules, adapters: Adapters) -> Iterator[Finding]:
        """Peft configurations of models whose family is known."""
        seen: set[ast.AST] = set()
        for injection in adapters.injections:
            family = BY_NAME.get(injection.model.family or "")
            if family is None or injection.model.cls is not None:
                continue
            for event in injection.events:
                config = event.value
                if not isinstance(config, PeftConfig) or config.kind != "LoraConfig" or "**" in config.kwargs:
                    continue
                assert config.site is not None
                if config.site.node in seen:
                    continue
                finding = self.judge(modules, injection, family, config)
                if finding is not None:
                    seen.add(config.site.node)
                    yield finding

    def judge(
        self, modules: Modules, injection: Injection, family: Family, config: PeftConfig
    ) -> Finding | None:
        """One configuration."""
        flag = config.kwargs.get("fan_in_fan_out")
        given = flag.value if isinstance(flag, Const) else None if flag is None else "?"
        if given == "?" or bool(given) is family.conv1d:
            return None
        targets = config.kwargs.get("target_modules")
        names = {name.rsplit(".", 1)[-1] for name in strings_of(targets)} if targets is not None else set()
        if names and not names & family.layers:
            return None
        site = config.site
        assert site is not None
        related = []
        if injection.model.model_id is not None:
            related.append(Related(modules.place(injection.model.model_id), f"the model is a {family.name}"))
        message = (
            f"`{injection.name}` is a {family.name}, whose layers are Conv1D: fan_in_fan_out is not set"
            if family.conv1d
            else f"`{injection.name}` is a {family.name}, whose layers are nn.Linear: "
            "fan_in_fan_out must not be set"
        )
        return self.finding(
            modules.place(site),
            message,
            related=related,
            fix=set_flag(site, family.conv1d),
            help=f"set fan_in_fan_out={family.conv1d}",
        )


def set_flag(site: Site, wanted: bool) -> Fix | None:
    """Set `fan_in_fan_out` of a configuration."""
    edits = site.file.get(Edits)
    if edits is None or not isinstance(site.node, ast.Call):
        return None
    message = f"set fan_in_fan_out={wanted}"
    for keyword in site.node.keywords:
        if keyword.arg == "fan_in_fan_out":
            return edits.safe(message, edits.replace(keyword.value, str(wanted)))
    return edits.safe(message, edits.add_argument(site.node, f"fan_in_fan_out={wanted}"))


__all__ = ["Mod"]
