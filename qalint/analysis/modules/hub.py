"""What transformers, peft, accelerate and other trainers do to modules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import effects, families, tensors, torchlib
from .values import (
    Choice,
    Const,
    Device,
    Dict,
    Lib,
    Mod,
    Seq,
    Site,
    Thing,
    Tokenizer,
    Union,
    Unknown,
    Value,
    each,
)

if TYPE_CHECKING:
    from .core import Core

NOT_MODELS = (
    "Tokenizer",
    "TokenizerFast",
    "Processor",
    "Config",
    "FeatureExtractor",
    "Scheduler",
    "Dataset",
    "Arguments",
    "Trainer",
    "Collator",
)
TOKENIZERS = ("Tokenizer", "TokenizerFast", "Processor", "FeatureExtractor")
TASKS = (
    "ForCausalLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMultipleChoice",
    "ForMaskedLM",
    "ForConditionalGeneration",
    "ForImageClassification",
    "ForObjectDetection",
    "ForSemanticSegmentation",
    "ForAudioClassification",
    "ForCTC",
)
"""How the classes of models with a head for a task end."""
LOADERS = frozenset({"from_pretrained", "from_config", "load_from_checkpoint", "from_single_file"})
FRAMEWORKS = ("accelerate.", "deepspeed.", "lightning.", "pytorch_lightning.", "trl.", "composer.", "fastai.")


class PeftConfig(Thing):
    """`LoraConfig(...)` and its kin."""

    __slots__ = ("kind", "kwargs")

    def __init__(self, site: Site, time: int, kind: str, kwargs: dict[str, Value]) -> None:
        super().__init__(site, time)
        self.kind = kind
        self.kwargs = kwargs


class Config(Value):
    """A model's configuration: its family."""

    __slots__ = ("family", "site")

    def __init__(self, family: str | None, site: Site) -> None:
        self.family = family
        self.site = site


def call(run: Core, name: str, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value | None:
    """The value of a call of one of these libraries, None where it is none of theirs."""
    head, _, last = name.rpartition(".")
    owner = head.rsplit(".", 1)[-1]
    if last in LOADERS and head.startswith("torch.nn."):
        table = tensors.as_tensor(run, args[0]) if args else None
        module = torchlib.module_of(run, head, [], {}, site)
        run.set(module, "device", table.device if table is not None else None)
        run.set(module, "dtype", table.dtype if table is not None else None)
        return module
    if last in LOADERS and owner[:1].isupper():
        if "Peft" in owner and last == "from_pretrained" and args and isinstance(args[0], Mod):
            run.emit(
                "attach", site, target=args[0], value=Const(None), name="", how="peft", info={"loaded": True}
            )
            return args[0]
        if owner.endswith("Config"):
            return Config(family_of(run, owner, args, kwargs)[0], site)
        if owner.endswith(TOKENIZERS):
            return Tokenizer(site)
        if owner.endswith(NOT_MODELS):
            return run.fresh("hub", site.node)
        return load(run, name, owner, last, args, kwargs, site)
    if name in {"marimo.ui.dropdown", "marimo.ui.radio"}:
        return choice(args[0] if args else kwargs.get("options"))
    if name.startswith("transformers."):
        if last == "Conv1D":
            return torchlib.module_of(run, name, args, kwargs, site)
        if last.endswith("Config"):
            return Config(families.of_class(last), site)
        if last in {"Trainer", "Seq2SeqTrainer"} or last.endswith("Trainer"):
            return trainer(run, args, kwargs, site)
        if last[:1].isupper() and ("Model" in last or last.endswith(TASKS)):
            return load(run, name, last, "from_config", args, kwargs, site)
        if last.endswith(NOT_MODELS) or last.startswith("get_") or last in {"set_seed", "pipeline"}:
            return run.fresh(last, site.node)
    if name.startswith("peft.") or last in {
        "get_peft_model",
        "LoraConfig",
        "prepare_model_for_kbit_training",
    }:
        return peft(run, last, args, kwargs, site)
    if name.startswith("trl.") and last.endswith("Trainer"):
        return trainer(run, args, kwargs, site)
    if name.startswith("loralib."):
        if last == "mark_only_lora_as_trainable" and args:
            for option in each(args[0]):
                if isinstance(option, Mod):
                    run.emit(
                        "freeze", site, target=option, flag=False, filters=frozenset({"named"}), how="loralib"
                    )
            return Const(None)
        if last in {"Linear", "Embedding", "Conv2d", "MergedLinear"}:
            return torchlib.module_of(run, name, args, kwargs, site)
    if name.startswith(FRAMEWORKS):
        effects.escape(run, [*args, *kwargs.values()], site)
        return Unknown(f"{name}@{getattr(site.node, 'lineno', 0)}")
    if (
        name.startswith("torchvision.models.")
        and last[:1].islower()
        and not last.startswith(("get_", "list_"))
    ):
        return torchlib.module_of(run, name, args, kwargs, site)
    if name == "timm.create_model":
        return torchlib.module_of(run, name, [], {}, site)
    if name.startswith("bitsandbytes.nn.") and ("Linear" in last or "Embedding" in last):
        return torchlib.module_of(run, name, args, kwargs, site)
    return None


def choice(options: Value | None) -> Value | None:
    """What a notebook lets its user choose from, where all of it is seen: names of models, for example."""
    if isinstance(options, Seq) and not options.open and options.items:
        found = options.items
    elif isinstance(options, Dict) and not (options.open or options.rest) and options.pairs:
        found = options.values()
    else:
        return None
    return Choice(tuple(found)) if all(isinstance(one, Const) for one in found) else None


def family_of(
    run: Core, owner: str, args: list[Value], kwargs: dict[str, Value]
) -> tuple[str | None, Site | None]:
    """The family of the model that a loader call names, and where it is named."""
    family = families.of_class(owner)
    name = args[0] if args else kwargs.get("pretrained_model_name_or_path") or kwargs.get("config")
    if isinstance(name, Config):
        return family or name.family, name.site
    if isinstance(name, Const) and isinstance(name.value, str):
        return family or families.of_model(name.value), name.site
    if isinstance(name, Union):
        found = {
            families.of_model(option.value)
            for option in name.options
            if isinstance(option, Const) and isinstance(option.value, str)
        }
        if len(found) == 1:
            return family or found.pop(), None
    return family, None


def load(
    run: Core,
    name: str,
    owner: str,
    last: str,
    args: list[Value],
    kwargs: dict[str, Value],
    site: Site,
) -> Mod:
    """A model is loaded or built from a configuration."""
    module = Mod(site, run.tick(), qual=f"transformers.{owner}")
    module.loaded = True
    module.stack = tuple(run.stack)
    module.family, named = family_of(run, owner, args, kwargs)
    module.model_id = named
    asked = kwargs.get("torch_dtype") or kwargs.get("dtype")
    dtype = torchlib.to_dtype(asked)
    if asked is None and last == "from_config":
        dtype = run.default_dtype
    run.set(module, "dtype", dtype)
    device: Device | None = tensors.CPU
    if "device_map" in kwargs:
        device = torchlib.to_device(run, kwargs["device_map"])
        if device is not None and device.kinds & {"auto", "balanced", "sequential"}:
            device = Device(frozenset({"cuda"}), "device_map")
        run.set(module, "device", device)
        run.emit("move", site, target=module, value=device, how="device_map")
    elif (
        kwargs.get("quantization_config")
        or kwargs.get("load_in_8bit")
        or kwargs.get("load_in_4bit")
        or "**" in kwargs
    ):
        run.set(module, "dtype", None)
        run.set(module, "device", None)
    else:
        run.set(module, "device", device)
    module.args = dict(kwargs)
    if args:
        module.args["0"] = args[0]
    run.emit("load", site, target=module)
    if dtype is not None:
        run.emit("cast", site, target=module, value=dtype, how="load")
    return module


def peft(run: Core, last: str, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """peft's own functions."""
    if last.endswith("Config"):
        config = PeftConfig(site, run.tick(), last, dict(kwargs))
        run.emit("config", site, target=config)
        return config
    if last in {"get_peft_model", "inject_adapter_in_model", "get_peft_model_mixed"}:
        model, config_ = (
            (args[0] if args else kwargs.get("model")),
            (args[1] if len(args) > 1 else kwargs.get("peft_config")),
        )
        if last == "inject_adapter_in_model":
            model, config_ = config_ if len(args) > 1 else kwargs.get("model"), args[0] if args else config_
        for option in each(model) if model is not None else ():
            if isinstance(option, Unknown):
                option = effects.as_module(run, option, site) or option
            if isinstance(option, Mod):
                run.emit("attach", site, target=option, value=config_ or Const(None), name="", how="peft")
                still(run, option, config_)
        return model or run.fresh(last, site.node)
    if last in {"prepare_model_for_kbit_training", "prepare_model_for_int8_training"}:
        for option in each(args[0]) if args else ():
            if isinstance(option, Mod):
                run.emit("freeze", site, target=option, flag=False, filters=frozenset(), how="kbit")
                run.emit("inputs", site, target=option)
        return args[0] if args else run.fresh(last, site.node)
    effects.escape(run, [*args, *kwargs.values()], site)
    return run.fresh(last, site.node)


def still(run: Core, model: Mod, config: Value | None) -> None:
    """Adapters that a configuration makes for inference are frozen with the rest of the model."""
    given = config.kwargs.get("inference_mode") if isinstance(config, PeftConfig) else None
    if isinstance(given, Const) and given.value is True:
        assert isinstance(config, PeftConfig) and config.site is not None
        run.emit("freeze", given.site or config.site, target=model, flag=False, how="inference")


def trainer(run: Core, args: list[Value], kwargs: dict[str, Value], site: Site) -> Value:
    """A trainer takes a model, puts the adapters of a `peft_config` into it, and trains it out of sight."""
    model = kwargs.get("model") or (args[0] if args else None)
    config = kwargs.get("peft_config")
    if model is not None and isinstance(config, PeftConfig):
        peft(run, "get_peft_model", [model, config], {}, site)
    for option in each(model) if model is not None else ():
        if isinstance(option, Mod):
            run.emit("train", site, target=option, info={"kwargs": kwargs})
    return Unknown(f"trainer@{getattr(site.node, 'lineno', 0)}")


__all__ = ["Config", "Dict", "Lib", "PeftConfig", "Seq", "call"]
