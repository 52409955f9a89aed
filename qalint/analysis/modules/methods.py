"""Calls of modules and of their methods."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from . import containers, lacking, tensors, torchlib
from .events import Event, compatible
from .values import (
    Array,
    Batch,
    Bound,
    Const,
    Dict,
    Func,
    Lib,
    Mod,
    Obj,
    Optim,
    Param,
    Params,
    Scope,
    Seq,
    Site,
    Tensor,
    Tokenizer,
    Unknown,
    Value,
    Walk,
    each,
)

if TYPE_CHECKING:
    from .core import Core, Super
from . import effects, spellings

HARMLESS = frozenset({"items", "keys", "values", "unscale_"})
"""Methods of what is not in sight that do nothing to what they are given that matters here."""
VERBS = ("get_", "is_", "set_", "load_", "prepare_", "create_", "build_", "make_", "init_", "add_")
"""How the names of methods begin that no layer has."""
TAKING_APART = frozenset({"split", "rsplit", "partition", "rpartition", "strip", "rstrip", "lstrip"})
"""Methods of a string whose arguments are separators, nothing that is looked for."""


ASKED = frozenset(
    ["exp", "log", "sqrt", "sigmoid", "tanh", "abs", "square", "detach", "clone", "item", "numel", "dim", "t"]
)
"""Methods of a parameter out of sight (`model.logit_scale.exp()`) that change nothing of the model."""


def super_call(
    run: Core, base: Super, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """A method of a library base class, through `super()`."""
    if isinstance(base.receiver, Mod):
        return inherited(run, base.receiver, name, args, kwargs, site)
    return run.fresh("super", site.node)


def inherited(
    run: Core, receiver: Mod, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """A method of the library class that a module's class derives from, called on the module."""
    if name == "__init__":
        if receiver.qual != "torch.nn.Module":
            effects.constructed(run, receiver, args, kwargs)
            if kwargs.keys() & {"dtype", "device"}:
                effects.fresh_module(run, receiver, kwargs)
        return Const(None)
    if name in {"forward", "__call__"} and receiver.qual and receiver.qual.startswith("torch.nn."):
        tensor = next((t for t in (tensors.as_tensor(run, a) for a in args) if t is not None), None)
        return Tensor(
            tensor.dtype if tensor else None, tensor.device if tensor else None, site=site, source="model"
        )
    return method(run, receiver, name, args, kwargs, site)


def forward(run: Core, module: Mod, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """`module(...)`, with its forward hooks."""
    value = hooked(run, module, args, kwargs, site)
    if not any(isinstance(frame.function.receiver, Mod) for frame in run.frames):
        tensors.leave(value)
    return value


def hooked(run: Core, module: Mod, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """The output of a module as its forward hooks leave it."""
    if module in run.scattered:
        args = [arg.copy(device=None) if isinstance(arg, Tensor) else arg for arg in args]
    value = plain_forward(run, module, args, kwargs, site)
    hooks = module.attrs.get(spellings.HOOKS)
    for hook in hooks.items if isinstance(hooks, Seq) else ():
        if isinstance(hook, Func):
            changed = run.enter(hook, [module, Seq(args, "tuple", site=site), value], {}, site)
            if not (isinstance(changed, Const) and changed.value is None):
                value = changed
    return value


def plain_forward(run: Core, module: Mod, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """`module(...)`, without hooks."""
    everything = [*args, *kwargs.values()]
    empty = isinstance(site.node, ast.Call) and not site.node.args and not site.node.keywords
    if module.parent is not None and (
        module.path.startswith(VERBS) or (empty and module.path.isidentifier())
    ):
        # a method of a class that is out of sight: a layer is given something
        if module.path in ASKED and module.parent.parent is not None:
            return run.fresh(module.path, site.node)
        effects.escape(run, [module, *everything], site)
        return run.fresh(module.path, site.node)
    here_ = run.dtype_of(module)
    run.emit(
        "forward",
        site,
        target=module,
        args=everything,
        info={"kwargs": kwargs, "dtype": here_, "sure": not run.unsure},
    )
    place = run.device_of(module)
    only_cpu = place is not None and place.kinds == {"cpu"}
    run.emit("work", site, target=module, how="cpu" if only_cpu else "")
    if "Pipeline" in (module.qual or ""):
        run.emit("wait", site, how="pipeline")  # what it gives are texts and pictures
    run_adapters(run, module, site)
    if (module.qual or "").rsplit(".", 1)[-1] not in torchlib.TRANSPARENT:
        tensors.leave(*everything)
    patched = module.attrs.get("forward")
    if isinstance(patched, Func) and module not in run.building:
        return run.enter(patched, args, kwargs, site)
    if module.cls is not None:
        method_ = module.cls.find("forward")
        if isinstance(method_, Func):
            return run.enter(method_.bind(module), fresh(args), kwargs, site)
    operands = [t for t in (tensors.as_tensor(run, value) for value in everything) if t is not None]
    last = (module.qual or "").rsplit(".", 1)[-1]
    if module.cls is None and everything and (module.qual or "").startswith("torch.nn."):
        here = place if last.startswith(torchlib.WEIGHTED) or "weight" in module.args else None
        inner = [part for value in everything if isinstance(value, Seq) for part in value.items]
        states = [state for state in inner if isinstance(state, Tensor)]
        for operand in [*operands, *states]:
            if tensors.differ(operand.device, here):
                weight = Tensor(None, here, site=module.site, source="parameter", weights=((module, False),))
                given = module.args.get("weight") or module.args.get("pos_weight")
                if isinstance(given, Tensor):
                    weight = given
                run.emit("clash", site, how="device", target=operand, value=weight, name="call")
    if last == "Linear" and operands and module.parent is None:
        return tensors.linear(run, module, operands[0], site)
    if last == "Conv1D" and operands and module.parent is None:
        return tensors.linear(run, module, operands[0], site)
    if last.startswith("Conv") and operands and module.parent is None:
        filters = Tensor(here_, None, site=module.site, source="parameter", weights=((module, False),))
        tensors.meet(run, operands[0], filters, site, "conv", multiply=True)
        return tensors.convolve(run, module, operands[0], site)
    if last in torchlib.TRANSPARENT and operands:
        return operands[0].copy(site=site)
    if last == "Sequential" and everything:
        value: Value = operands[0] if operands else everything[0]
        for element in module.elements:
            value = run.call(element, [value], {}, site.node, Scope(site.file, None, "module"))
        return value
    if last == "Embedding" and module.parent is None:
        found = run.latest(module, "grad")
        looked_up = Tensor(here_, place, site=site, source="model")
        looked_up.grad = found is None or found[1] is True
        return looked_up
    if operands and (module.qual or "").startswith("torch.nn."):
        number = last.endswith("Loss") and torchlib.reduced(module.args.get("reduction"))
        if last.endswith("Loss"):
            torchlib.apart(run, operands, last, site)
        result = Tensor(
            operands[0].dtype, operands[0].device, site=site, source=operands[0].source, rank0=number
        )
        result.used = tensors.used(*operands)
        return result
    source = "output" if module.parent is None else "unknown"
    # what looks like a layer of a model out of sight may be a method, which gives what it likes
    named = module.parent is not None and module.path.isidentifier() and module.family is None
    where = None if named else place
    if operands and all(operand.dtype in {"int64", "bool", None} for operand in operands):
        return Tensor(
            run.dtype_of(module) if run.in_autocast() is False else None,
            where,
            site=site,
            source=source,
        )
    if (module.qual or "").startswith(spellings.UNSEEN):
        return Tensor(None, None, site=site, source="model" if operands else "unknown")
    dtype = operands[0].dtype if operands else run.dtype_of(module)
    return Tensor(dtype if run.in_autocast() is False else None, where, site=site, source=source)


def fresh(args: list[Value]) -> list[Value]:
    """What a forward of the program is given: of its own layers nothing has been used yet."""
    return [arg.copy(used=frozenset()) if isinstance(arg, Tensor) and arg.used else arg for arg in args]


def run_adapters(run: Core, module: Mod, site: Site) -> None:
    """A model whose layers are not in sight runs: so do the adapters in it, on its activations."""
    if run.quiet:
        return
    root = module.root
    autocast = run.in_autocast()
    for event in list(run.events):
        if event.kind != "attach" or event.how == "init" or not isinstance(event.target, Mod):
            continue
        if event.target.root is not root:
            continue
        # what the adapter sits in may be a part of the program's own model, in a dtype of its own
        here = run.dtype_of(event.target) if run.guards_fit(event.guards) else None
        if here is not None and one_of_several(event, run.events):
            here = None
        x = Tensor(here, run.device_of(event.target), site=site, source="input")
        key = (id(event), f"{here}{autocast}{x.device.term if x.device else None}")
        if key in run.applied:
            continue
        run.applied.add(key)
        if isinstance(event.value, Mod):
            parts: list[Value] = [event.value] if event.value.cls is not None else event.value.elements[:3]
            for part in parts:
                found = part.cls.find("forward") if isinstance(part, Mod) and part.cls else None
                if isinstance(found, Func) and len(run.frames) < 10:
                    tensors.leave(run.enter(found.bind(part), [x], {}, site))
        elif isinstance(event.value, Func) and event.how == "forward":
            tensors.leave(run.enter(event.value, [x], {}, site))
        elif isinstance(event.value, Func) and event.name == "register_forward_hook":
            given: list[Value] = [event.target, Seq([x], "tuple", site=site), x.copy(source="model")]
            tensors.leave(run.enter(event.value, given, {}, site))


def one_of_several(event: Event, events: list[Event]) -> bool:
    """Whether a module is one of several that a place may get, where what stood there had taken a layer's
    place itself: which one it gets depends on what the layer is, and that is not known any more.
    """
    root = event.target.root
    put = [one for one in events if one.kind == "attach" and one.how != "init" and isinstance(one.value, Mod)]
    return any(
        one.site.node is event.site.node and one.target is event.target and one.value is not event.value
        for one in put
    ) and any(
        one.time < event.time
        and one.site.node is not event.site.node
        and one.value.cls is not None
        and isinstance(one.target, Mod)
        and (one.target.root is root or any(holder is root for holder, _ in one.target.root.holders))
        and compatible(one.guards, event.guards)
        and not any(isinstance(held, Mod) and held.parent is not None for held in one.value.attrs.values())
        for one in put
    )


def method(
    run: Core, base: Value, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """`base.name(...)` of a library type."""
    if isinstance(base, Unknown) and name in spellings.REFINING:
        module = effects.as_module(run, base, site)
        assert module is not None
        base = module
    if isinstance(base, Unknown) and name in spellings.CONVERSIONS and base.term in run.refined:
        base = run.refined[base.term]
    if isinstance(base, Mod):
        return module_method(run, base, name, args, kwargs, site)
    if isinstance(base, Param | Tensor):
        return torchlib.tensor_method(run, base, name, args, kwargs, site)
    if isinstance(base, Tokenizer):
        return encoded(run, base, name, kwargs, site)
    if isinstance(base, Array):
        if name == "astype":
            return Array(torchlib.array_dtype(args[0] if args else kwargs.get("dtype")), site)
        same = name in {"reshape", "ravel", "flatten", "copy", "transpose"}
        return Array(base.dtype, site) if same else run.fresh(name, site.node)
    if isinstance(base, Params | Walk) and name in {"items", "values", "keys"}:
        return base
    if isinstance(base, Walk) and name in {"get", "pop", "__getitem__"} and args:
        return containers.item(run, base, args[0], site)
    if isinstance(base, Params) and name == "requires_grad_":
        effects.freeze(run, base, args[0] if args else Const(True), site)  # each of a chain's parameters
        return base
    if isinstance(base, Seq):
        return containers.sequence_method(run, base, name, args, site)
    if isinstance(base, Dict):
        return containers.dict_method(run, base, name, args, site)
    if isinstance(base, Optim):
        return optimizer_method(run, base, name, args, site)
    if isinstance(base, Batch):
        if name in {"to", "cuda"}:
            base.moved = True  # a mapping with a `to` of its own moves in place, as an encoding does
            return Batch(base.site, moved=True, kind=base.kind, plain=base.plain)
        if name == "update":
            base.moved = True
        if name == "items":
            return Seq([Seq([run.fresh("key", site.node), base], "tuple")], "list", open=True, site=site)
        if name == "values":
            return Seq([base], "list", open=True, site=site)
        return base
    if isinstance(base, Lib):
        return torchlib.call(run, f"{base.name}.{name}", args, kwargs, site)
    if isinstance(base, Const) and isinstance(base.value, str):
        if name in {"split", "rsplit"} and len(args) <= 1 and all(isinstance(arg, Const) for arg in args):
            return parts_of(base.value, args, site)
        if name in {"format", "join", "lower", "strip", "replace", "split"}:
            return tensors.mixed(f"str.{name}", [base, *args])
    if isinstance(base, Bound) and base.name == "__dict__" and name == "update":
        if isinstance(base.base, Mod | Obj):  # anything may stand over what was set before
            plain = [
                key for key, value in base.base.attrs.items() if not isinstance(value, Mod | Param | Func)
            ]
            base.base.attrs.update((key, run.fresh(key, site.node)) for key in plain)
            base.base.attrs[lacking.ANY] = run.fresh("update", site.node)
        return Const(None)
    if (
        isinstance(base, Bound)
        and base.name in {"_modules", "_parameters", "__dict__"}
        and isinstance(base.base, Mod)
    ):
        if name == "items":
            return Walk(base.base, "named_children", site)
        if name in {"values", "get"}:
            return (
                Walk(base.base, "children", site)
                if name == "values"
                else effects.part(run, base.base, "*", site)
            )
    if name == "synchronize":
        run.emit("wait", site)
    if name == "step" and any(isinstance(argument, Optim) for argument in args):
        stepped(run, args, site)  # a scaler steps the optimizer
        return Const(None)
    if isinstance(base, Bound) and name in torchlib.WAITS and not args:
        run.emit("wait", site, how="unseen")  # of a part of what a model gave
    if isinstance(base, Unknown) and name in {"append", "extend"} and ".param_groups" in base.term:
        for event in [event for event in run.events if event.kind == "optimizer"]:
            if f"{event.target.term}.param_groups" in base.term:  # a group's list gets more
                run.emit("group", site, target=event.target, value=args[0] if args else None)
    if isinstance(base, Unknown) and base.name_of is None and name not in HARMLESS:
        effects.escape(run, [*args, *kwargs.values()], site, effects.callee(f"{base.term}.{name}"))
    if isinstance(base, Unknown) and name in spellings.CONVERSIONS:
        run.converted[base.term] = (name, args, kwargs, site)
        return Unknown(base.term, name_of=base.name_of, strings=base.strings)
    if name == "backward":
        run.emit("backward", site, target=base)
        run.emit("work", site)
    elif name == "step" and not isinstance(base, Batch):
        stepped(run, args, site)
        run.emit("work", site)
    elif name in {"scale", "unscale_"} and args:
        return args[0]
    if isinstance(base, Unknown) and base.name_of is not None and name in TAKING_APART:
        return Unknown(
            f"{name}({base.term},{','.join(value.term for value in args)})",
            name_of=base.name_of,
            strings=base.strings,
        )
    return tensors.mixed(f"{name}", [base, *args, *kwargs.values()])


def parts_of(text: str, args: list[Value], site: Site) -> Seq:
    """`text.split(separator)`."""
    separator = args[0].value if args and isinstance(args[0], Const) else None
    known = separator is None or (isinstance(separator, str) and separator)
    return Seq([Const(part) for part in (text.split(separator) if known else [text])], site=site)


def encoded(run: Core, base: Tokenizer, name: str, kwargs: dict[str, Value], site: Site) -> Value:
    """What a tokenizer gives: tensors on the CPU where it is asked for tensors."""
    asked = kwargs.get("return_tensors")
    if not isinstance(asked, Const) or asked.value != "pt":
        return run.fresh(name, site.node)
    if name in {"__call__", "batch_encode_plus", "encode_plus", "pad"}:
        return Batch(site, kind="encoding")
    if name == "encode":
        return Tensor("int64", tensors.CPU, site=site, source="encoding")
    return run.fresh(name, site.node)


def stepped(run: Core, args: list[Value], site: Site) -> None:
    """Something steps the optimizers that it is given."""
    for argument in args:
        if isinstance(argument, Optim):
            run.emit("step", site, target=argument)


def module_method(
    run: Core, module: Mod, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Value:
    """A method that every module has."""
    first = args[0] if args else None
    if name in spellings.CONVERSIONS:
        return convert(run, module, name, args, kwargs, site)
    if name in {"parameters", "named_parameters"}:
        if module.path == "*" and isinstance(module.args.get("walk"), Walk):
            filters = frozenset({"typed"} if any(g.tests for g in effects.guards_inside(run)) else set()) | {
                g.flavor for g in effects.guards_inside(run) if g.flavor == "named"
            }
            return Params(module, filters, named=name[0] == "n", once=True, site=site)
        return Params(module, named=name.startswith("named"), once=True, site=site)
    if name in spellings.WALKS:
        return Walk(module, name, site)
    if name == "requires_grad_":
        effects.freeze(run, module, first or kwargs.get("requires_grad") or Const(True), site)
        return module
    if name in {"train", "eval", "share_memory", "zero_grad", "compile", "tie_weights"}:
        return module
    if name == "apply" and first is not None:
        run.loops.append(site.node)
        piece = Mod(site, 0, parent=module, path="*")
        piece.args["walk"] = Walk(module, "modules", site, listed=True)
        if isinstance(first, Func):
            run.enter(first, [piece], {}, site)
        run.loops.pop()
        return module
    if name in {"add_module", "register_module", "register_parameter"} and len(args) >= 2:
        if isinstance(args[0], Const) and isinstance(args[0].value, str):
            effects.set_attribute(run, module, args[0].value, args[1], site, how=name)
        else:
            attach(run, module, args[0], args[1], site, name)
        return Const(None)
    if name == "register_buffer" and len(args) >= 2:
        value = args[1]
        if isinstance(args[0], Const) and isinstance(args[0].value, str):
            tensor = tensors.as_tensor(run, value)
            buffer = Param(site, run.tick())
            buffer.tensor_of = "buffer"
            if tensor is not None:
                run.set(buffer, "dtype", tensor.dtype)
                run.set(buffer, "device", tensor.device)
            buffer.holders.append((module, run.tick()))
            module.attrs[args[0].value] = buffer
        return Const(None)
    if name in {"get_submodule", "get_parameter"}:
        if isinstance(first, Const) and isinstance(first.value, str) and first.value in module.attrs:
            return module.attrs[first.value]
        if isinstance(first, Unknown) and first.term.startswith("name("):
            return effects.named(run, module, first, site)  # the whole of a module's name, not a parent's
        return effects.part(run, module, f"({first.term if first else ''})", site)
    if name == "set_submodule" and len(args) >= 2:
        attach(run, module, args[0], args[1], site, "setattr")
        return Const(None)
    if name in {"register_forward_hook", "register_forward_pre_hook"} and first is not None:
        if isinstance(first, Obj) and isinstance(called := first.cls.find("__call__"), Func):
            first = called.bind(first)
        run.emit("attach", site, target=module, value=first, name=name, how="hook")
        if name == "register_forward_hook":
            hooks = module.attrs.setdefault(spellings.HOOKS, Seq([], "list"))
            if isinstance(hooks, Seq):
                hooks.items.append(first)
        x = effects.tensors_input(run, module)
        inputs: list[Value] = [module, Seq([x], "tuple", site=site)]
        if name == "register_forward_hook":
            inputs.append(Tensor(None, None, site=site, source="model"))
        effects.deferred(run, first, inputs, site)
        return run.fresh("handle", site.node)
    if name == "load_state_dict":
        run.emit("restore", site, target=module)
    if name == "enable_input_require_grads":
        run.emit("inputs", site, target=module)
        return Const(None)
    if name in {"print_trainable_parameters", "get_nb_trainable_parameters", "num_parameters"}:
        run.emit("count", site, target=module)
        return run.fresh(name, site.node)
    if name in {"append", "extend", "insert"}:
        value = args[-1] if args else Const(None)
        values = value.items if isinstance(value, Seq) and name == "extend" else [value]
        module.elements.extend(values)
        for added in values:
            effects.hold(run, module, added)
            effects.element(run, module, added)
        return Const(None)
    if name in {"items", "values"} and module.elements:
        pairs = [Seq([run.fresh("key", site.node), inner], "tuple") for inner in module.elements]
        return Seq(pairs if name == "items" else module.elements, "list", open=True, site=site)
    if name in {"items", "values"}:
        return Walk(module, "named_children" if name == "items" else "children", site)
    if name in {"forward", "generate"}:
        result = forward(run, module, args, kwargs, site)
        if name == "generate":
            run.emit("wait", site, how=name)  # it looks after every token whether it is done
        return result
    if name in {"merge_and_unload", "unload"} and module.loaded:
        run.emit("freeze", site, target=module, flag=False, how="unload")
    if name in {"merge_and_unload", "unload", "get_base_model"}:
        return module
    if name in {"add_adapter"}:
        run.emit("attach", site, target=module, value=first or Const(None), name="", how="peft")
        return Const(None)
    if name in {"get_input_embeddings", "get_output_embeddings"}:
        return effects.part(run, module, name, site)
    if name in {
        "state_dict",
        "buffers",
        "named_buffers",
        "extra_repr",
        "save_pretrained",
        "push_to_hub",
        "load_state_dict",
    }:
        return Unknown(f"{module.term}.{name}()")
    if name == "__class__":
        return run.fresh("instance", site.node)
    if module.cls is None and not module.known:
        effects.escape(run, args, site)
        if spellings.changes(name):
            run.emit("escape", site, target=module, how="method")
    return tensors.mixed(name, [module, *args])


def attach(run: Core, module: Mod, name: Value, value: Value, site: Site, how: str) -> None:
    """`setattr(module, name, value)` and its kin, with a name that may be unknown."""
    text = containers.text_of(name)
    if text:
        effects.set_attribute(run, module, text, value, site, how=how)
        return
    for option in each(value):
        if isinstance(option, Mod | Param):
            effects.hold(run, module, option)
            run.emit("attach", site, target=module, value=option, name="", how=how, info={"name": name})
        elif isinstance(option, Unknown | Tensor):
            run.emit("replaced", site, target=module)  # whatever it is, it stands where a layer stood


def convert(
    run: Core, module: Mod, name: str, args: list[Value], kwargs: dict[str, Value], site: Site
) -> Mod:
    """A module's `to`, `cuda`, `half` and kin: in place."""
    dtype, device, asked = torchlib.target(run, name, args, kwargs)
    if asked in {"dtype", "both"}:
        run.set(module, "dtype", dtype)
        run.emit("cast", site, target=module, value=dtype, how=name)
    if asked in {"device", "both", "unknown"}:
        run.set(module, "device", device)
        run.emit("move", site, target=module, value=device, how=name)
    if asked == "unknown":
        run.set(module, "dtype", None)
    return module


def optimizer_method(run: Core, base: Optim, name: str, args: list[Value], site: Site) -> Value:
    """An optimizer's method."""
    if name == "step":
        run.emit("step", site, target=base)
        run.emit("work", site)
    elif name == "add_param_group" and args:
        run.emit("group", site, target=base, value=args[0])
        base.params.extend(torchlib.flatten(args[0]))
    return run.fresh(name, site.node)
