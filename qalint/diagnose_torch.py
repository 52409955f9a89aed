"""What torch, PEFT and their kin say when the protocol of mixed precision or of adapters is broken."""

from __future__ import annotations

from .diagnose import Cause, Symptom


def _cause(rule: str | None, why: str, fix: str, look_at: str, first: int = 50) -> Cause:
    return Cause(rule, why, fix, look_at, first)


_STALE = _cause(
    "QA1207",
    "the optimizer was built before the adapters were injected, so what it owns gets no gradients",
    "build the optimizer after the injection",
    "the order of injection and optimizer",
    2,
)
_CLEARED = _cause(
    "QA1116",
    "the gradients are cleared between backward and step",
    "clear them after the step",
    "the place of `zero_grad`",
    3,
)

PROTOCOL: tuple[Symptom, ...] = (
    Symptom(
        "scale-is-none",
        "the scaler steps or unscales and has scaled nothing",
        (
            r"attempted (?:step|unscale_|update) but _scale is none",
            r"did not use scaler\.scale\(loss or outputs\)",
        ),
        (
            _cause(
                "QA1104",
                "the loss of the backward pass did not go through this scaler",
                "`scaler.scale(loss).backward()` with the scaler that steps",
                "on what `backward` is called, and whether there are two scalers",
                1,
            ),
            _cause(
                "QA1109",
                "`unscale_` or `step` comes before the first backward",
                "scale and backward first",
                "the order of the calls",
                2,
            ),
            _cause(
                "QA1112",
                "a new scaler is made between scale and step",
                "create it once, before the loop",
                "where the scaler is made",
                3,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "no-inf-checks",
        "the scaler found no gradients to look at",
        (r"no inf checks were recorded",),
        (
            _cause(
                "QA1107",
                "the optimizer was stepped directly, so the scaler's update has nothing to go by",
                "`scaler.step(optimizer)`",
                "each `.step()`",
                1,
            ),
            _STALE,
            _CLEARED,
            _cause(
                "QA1109",
                "`update` comes before `step`, or `unscale_` before `backward`",
                "scale, backward, unscale, step, update",
                "the order of the calls",
                4,
            ),
            _cause(
                "QA1127",
                "the scaler of a framework is used by hand",
                "leave it to the framework: `accelerator.backward(loss)`, `accelerator.clip_grad_norm_`",
                "what `accelerator.prepare` returned",
                5,
            ),
            _cause(
                "QA1108",
                "`update` runs in every micro-step, `step` only in some",
                "guard both by the same test",
                "the guard of the accumulation",
                6,
            ),
            _cause(
                "QA1208",
                "the optimizer has no parameters (a group with an empty list is accepted in silence)",
                "inject before you collect",
                "`len(optimizer.param_groups[0]['params'])`",
                7,
            ),
            _cause(
                "QA1215",
                "the adapters are used by no forward pass, so they get no gradients",
                "call them from the layer's forward",
                "whether `lora_B.grad` is None after backward",
                8,
            ),
            _cause(
                None,
                "the loss was cut off from the graph (`torch.tensor(loss)`, `.item()`, `.detach()`)",
                "keep the loss that the model returned",
                "what is done with the loss before `backward`",
                9,
            ),
            _cause(
                None,
                "the model was moved to the GPU after the optimizer was built, and its parameters were"
                " replaced",
                "move the model first",
                "the order of `.to(device)` and the optimizer",
                10,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "missing-update",
        "the scaler was not updated since its last step",
        (
            r"step\(\) has already been called since the last update",
            r"unscale_\(\) is being called after step\(\)",
        ),
        (
            _cause(
                "QA1108",
                "a path from one step to the next has no `update`",
                "call `scaler.update()` after the last step of every round, skipped ones included",
                "`continue` and `if` between `unscale_` and `update`",
                1,
            ),
            _cause(
                "QA1109",
                "`update` stands before `step`, or `unscale_` after it",
                "scale, backward, unscale, step, update",
                "the order of the calls",
                2,
            ),
            _cause(
                "QA1107",
                "one optimizer is stepped twice in a round",
                "one step for each update",
                "each `.step()`",
                3,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "double-unscale",
        "gradients are unscaled twice",
        (r"unscale_\(\) has already been called on this optimizer",),
        (
            _cause(
                "QA1110",
                "with gradient accumulation, every micro-step unscales",
                "unscale and clip under the guard of the step",
                "the guard `(i + 1) % accumulation`",
                1,
            ),
            _cause(
                "QA1108",
                "a round ends without `update`, so that its `unscale_` still counts",
                "call `scaler.update()` also where the step is skipped",
                "`continue` after `unscale_`",
                2,
            ),
            _cause(
                "QA1127",
                "a framework unscales as well",
                "let it clip: `accelerator.clip_grad_norm_`",
                "whether a framework owns the optimizer",
                3,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "no-graph",
        "the loss does not depend on anything that is trained",
        (
            r"element 0 of (?:tensors|variables) does not require grad",
            r"does not require grad and does not have a grad_fn",
            r"one of the differentiated tensors does not require grad",
        ),
        (
            _cause(
                "QA1205",
                "everything was frozen after the injection",
                "freeze first, inject then",
                "the order of freezing and injecting",
                1,
            ),
            _cause(
                "QA1215",
                "the adapters are attached and no forward pass uses them, or a hook forgets to return",
                "call them from the layer's forward",
                "whether the output changes with `lora_B`",
                2,
            ),
            _cause(
                "QA1220",
                "reentrant checkpointing over frozen embeddings cuts the gradients off",
                "`use_reentrant=False`, or `model.enable_input_require_grads()`",
                "the warning `None of the inputs have requires_grad=True`",
                3,
            ),
            _cause(
                "QA1202",
                "no layer matched, so nothing was adapted",
                "accept `Conv1D` as well as `Linear`",
                "how many layers were injected",
                4,
            ),
            _cause(
                "QA1701",
                "the layer names do not exist in this model",
                "name this model's layers",
                "how many layers were injected",
                5,
            ),
            _cause(
                None,
                "the forward pass runs under `no_grad`, or the adapter's result is detached",
                "remove it",
                "`torch.no_grad`, `inference_mode`, `.detach()`, `.item()`",
                6,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "checkpointing-without-gradients",
        "activation checkpointing gets inputs without gradients",
        (r"none of the inputs have requires_grad=true",),
        (
            _cause(
                "QA1220",
                "reentrant checkpointing over frozen embeddings: nothing below it is trained",
                "`use_reentrant=False`, or `model.enable_input_require_grads()`",
                "the call of `checkpoint`, and the versions of transformers and PEFT",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "shape-mismatch",
        "the matrices of an adapter do not fit their layer",
        (
            r"mat1 and mat2 shapes cannot be multiplied",
            r"size mismatch, (?:m1: \[|got \d+, \d+x\d+)",
            r"mat1 dim 1 must match mat2 dim 0",
            r"the size of tensor a \(\d+\) must match the size of tensor b",
        ),
        (
            _cause(
                "QA1201",
                "the dimensions of a layer were read the wrong way round: Conv1D is (in, out), Linear"
                " is (out, in)",
                "swap them",
                "the layer in the traceback: is it a `Conv1D`?",
                1,
            ),
            _cause(
                "QA1203",
                "dimensions are read without asking which kind of layer it is",
                "test for `Conv1D` first",
                "the function that makes the adapter",
                2,
            ),
            _cause(
                "QA1711",
                "PEFT was not told that GPT-2 stores its weights transposed (merging goes wrong in old"
                " versions)",
                "`fan_in_fan_out=True` for GPT-2",
                "the version of PEFT",
                3,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "conv1d-attribute",
        "a Conv1D is asked for what only Linear has",
        (
            r"'conv1d' object has no attribute '(?:in|out)_features'",
            r"'\w+' object has no attribute '(?:in|out)_features'",
        ),
        (
            _cause(
                "QA1203",
                "the layer's kind is not tested before its dimensions are read",
                "for `Conv1D` take them from `weight.shape`, as (in, out)",
                "the function that makes the adapter",
                1,
            ),
            _cause(
                "QA1202",
                "the code knows Linear only",
                "add a branch for `Conv1D`",
                "which layers the model has",
                2,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "non-leaf-parameter",
        "a parameter is none any more",
        (r"can't optimize a non-leaf (?:tensor|variable)", r"cannot assign '[\w.]+' as parameter"),
        (
            _cause(
                "QA1219",
                "`nn.Parameter(...)` was cast or moved after it was made, or a tensor was assigned over it",
                "move the data first: `nn.Parameter(tensor.to(device))`, or change `.data`",
                "every `.to`, `.half`, `.cuda` on a parameter",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "modules-in-optimizer",
        "the optimizer got modules instead of tensors",
        (r"optimizer can only optimize tensors, but one of the params is",),
        (
            _cause(
                None,
                "the list of parameters holds modules (`lora_A` is an `nn.Linear`)",
                "extend it by `lora_A.parameters()`",
                "the line that collects the adapters",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "target-modules-not-found",
        "PEFT finds none of the target modules",
        (r"target modules .{0,300}not found in the base model", r"nomatchingpeftmodule"),
        (
            _cause(
                "QA1701",
                "the names belong to another family of models",
                "`c_attn`, `c_proj` for GPT-2; `q_proj`, `v_proj` for LLaMA and Mistral",
                "`print(model)`",
                1,
            ),
            _cause(
                "QA1702",
                "the names of one family stand in code whose model is chosen at run time",
                "choose the names by `model.config.model_type`",
                "where the model's name comes from",
                2,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "changed-while-iterating",
        "layers are added while the model is being walked",
        (
            r"dictionary changed size during iteration",
            r"maximum recursion depth exceeded",
            r"mutated during iteration",
        ),
        (
            _cause(
                "QA1216",
                "the injection adds children to the modules it is iterating over",
                "iterate over `list(model.named_modules())`",
                "the loop of the injection",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "half-overflow",
        "a constant does not fit FP16",
        (r"value cannot be converted to type (?:c10::|at::)?half without overflow",),
        (
            _cause(
                "QA1125",
                "a mask of -1e9 or another constant beyond 65,504 is filled into FP16",
                "use `torch.finfo(x.dtype).min`",
                "`masked_fill`, `torch.where`, `full` in the attention",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "unscale-bfloat16",
        "the scaler meets BF16 parameters on a GPU",
        (
            r"_amp_foreach_non_finite_check_and_unscale_cuda\W{1,3}not implemented for '?bfloat16",
            r"not implemented for 'bfloat16'",
        ),
        (
            _cause(
                "QA1122",
                "BF16 needs no scaler, and on CUDA the scaler cannot unscale it",
                "`GradScaler(enabled=dtype == torch.float16)`",
                "the dtype of the parameters",
                1,
            ),
            _cause(
                "QA1210",
                "the adapters inherited BF16 from the base model",
                "keep them in FP32",
                "the dtype of `lora_A`",
                2,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "unsafe-autocast",
        "a loss is unsafe under autocast",
        (r"unsafe to autocast", r"binary_cross_entropy and bceloss are unsafe"),
        (
            _cause(
                "QA1131",
                "`BCELoss` under CUDA autocast",
                "use the form with logits, and drop the sigmoid",
                "the loss function",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "closure-with-scaler",
        "a closure was handed to the scaler",
        (r"closure use is not currently supported if gradscaler is enabled",),
        (
            _cause(
                "QA1126",
                "`scaler.step` takes no closure",
                "write the steps out, or use an optimizer without closure",
                "the call of `scaler.step`",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "empty-clip",
        "there is nothing to clip",
        (r"parameters`? is an empty generator", r"no gradient clipping will occur"),
        (
            _cause(
                "QA1114",
                "the generator was used up before the clip",
                "call `.parameters()` anew, or keep a list",
                "who consumes the iterator first",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "deprecated-amp",
        "an old spelling of the mixed precision API",
        (
            r"torch\.(?:cuda|cpu)\.amp\.(?:gradscaler|autocast|custom_fwd"
            r"|custom_bwd)\(args\.\.\.\)`? is deprecated",
        ),
        (
            _cause(
                "QA1123",
                "`torch.cuda.amp` is deprecated",
                "`torch.amp.GradScaler('cuda', ...)` and `torch.amp.autocast('cuda', ...)`",
                "the imports",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "amp-too-new",
        "the installed torch does not have this part of the mixed precision API",
        (
            r"cannot import name '(?:gradscaler|autocast)' from 'torch\.(?:amp|cuda\.amp)",
            r"module 'torch(?:\.amp|\.cuda)?' has no attribute '(?:gradscaler|autocast|amp)'",
            r"(?:autocast|gradscaler)\S*\(\) got an unexpected keyword argument '(?:dtype|device)",
        ),
        (
            _cause(
                None,
                "`torch.amp.GradScaler` needs torch 2.3, `torch.autocast` and its `dtype` 1.10,"
                " `torch.cuda.amp` 1.6",
                "raise the version in your requirements, or write the spelling of the oldest torch you"
                " support",
                "`python -c 'import torch; print(torch.__version__)'`; tell qalint the oldest version with"
                " `torch-version`, and no fix uses a newer API",
                1,
            ),
        ),
        specific=4,
    ),
    Symptom(
        "scale-collapses",
        "the loss scale falls to its minimum: step after step overflows and is skipped",
        (
            r"minimum loss scale reached",
            r"loss scale already at minimum",
            r"gradient overflow\. +skipping step.{0,60}to (?:0\.\d+|1(?:\.0+)?|[2-9])\b",
        ),
        (
            _cause(
                "QA1125",
                "a constant beyond FP16's range makes every loss infinite",
                "use `torch.finfo(x.dtype).min` for masks",
                "`masked_fill` and `torch.where` in the attention",
                1,
            ),
            _cause(
                "QA1102",
                "the trained parameters are FP16 and have become NaN: no scale can mend that",
                "keep what is trained in FP32",
                "`next(model.parameters()).dtype` before training",
                2,
            ),
            _cause(
                None,
                "the forward pass itself overflows: activations or the learning rate are too large",
                "lower the learning rate; BF16 where the GPU has it, which needs no scaler",
                "the first step whose loss is infinite, with `torch.autograd.set_detect_anomaly(True)`",
                3,
            ),
            _cause(
                "QA1115",
                "a new scaler in every step starts at 65,536 again, so the scale never gets low enough",
                "make one scaler before the loop",
                "where `GradScaler(...)` is called",
                4,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "amp-disabled",
        "mixed precision switched itself off, because there is no CUDA here",
        (
            r"gradscaler is enabled, but cuda is not available",
            r"cuda is not available or torch_xla is imported\. disabling autocast",
            r"user provided device_type of 'cuda', but cuda is not available",
        ),
        (
            _cause(
                "QA1712",
                "the device is written down as CUDA",
                "choose it by `torch.cuda.is_available()`, for the scaler and autocast as well",
                'every literal "cuda"',
                1,
            ),
            _cause(
                "QA1124",
                "an argument stands where another is expected (`torch.amp.GradScaler(True)` is a device)",
                "name the arguments",
                "the calls of GradScaler and autocast",
                2,
            ),
            _cause(
                None,
                "on a CPU this is all: the run is FP32, and no fault of FP16 can show",
                "test mixed precision on a GPU, or with `qalint verify`",
                "`torch.cuda.is_available()`",
                3,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "autocast-arguments",
        "autocast or the scaler is called with the wrong arguments",
        (
            r"expected `?device_type`? of type `?str",
            r"autocast\S*\(?\)? missing 1 required positional argument: 'device_type'",
            r"unsupported autocast device_type",
            r"in \w+ autocast, but the target dtype is not supported",
        ),
        (
            _cause(
                "QA1124",
                "a device object or nothing where the name of a device type is expected, or a bool"
                " where a dtype is",
                "`torch.autocast(device.type, dtype=..., enabled=...)`",
                "the call in the traceback",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "scaler-is-none",
        "the scaler is None where it is used",
        (r"'nonetype' object has no attribute '(?:scale|unscale_|update|is_enabled|get_scale)'",),
        (
            _cause(
                None,
                "the scaler is made under one flag and used under another",
                "make it always, and switch it by `enabled=`",
                "the two tests: `use_fp16` here, `use_amp` there",
                1,
            ),
            _cause(
                "QA1127",
                "a framework owns the scaler, and has none on this device",
                "leave the protocol to the framework",
                "`accelerator.scaler` is None on a CPU",
                2,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "module-has-no-device",
        "a module is asked for its device or dtype",
        (r"'\w+' object has no attribute '(?:device|dtype)'",),
        (
            _cause(
                "QA1709",
                "a plain module has no `.device`; models of transformers have one",
                "`next(model.parameters()).device`",
                "the class of the model",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "no-cuda-here",
        "torch is used with CUDA on a machine without",
        (
            r"torch not compiled with cuda enabled",
            r"found no nvidia driver on your system",
            r"no cuda gpus are available",
        ),
        (
            _cause(
                "QA1712",
                "the device is written down as CUDA",
                '`device = "cuda" if torch.cuda.is_available() else "cpu"`',
                '`.cuda()` and literal "cuda"',
                1,
            ),
            _cause(
                None,
                "`torch.cuda.synchronize()` is called without asking whether there is CUDA",
                "guard it by `torch.cuda.is_available()`",
                "the timing code",
                2,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "precision-flags",
        "a Trainer got two precisions",
        (
            r"at most one of fp16 and bf16 can be true",
            r"fp16 mixed precision requires a (?:cuda|gpu)",
            r"your setup doesn't support bf16",
        ),
        (
            _cause(
                "QA1130",
                "`fp16=True` and `bf16=True` exclude each other, and each needs hardware for it",
                "keep one: BF16 on Ampere and later, FP16 before",
                "`TrainingArguments`",
                1,
            ),
        ),
        specific=3,
    ),
    Symptom(
        "scheduler-before-optimizer",
        "the scheduler seems to step before the optimizer",
        (r"detected call of `?lr_scheduler\.step\(\)`? before `?optimizer\.step\(\)",),
        (
            _cause(
                None,
                "harmless, if once at the start: the scaler skipped its first step because the scale"
                " was too high",
                "step the scheduler only when `scaler.get_scale()` has not fallen",
                "whether the warning comes once or in each round",
                2,
            ),
            _cause(
                "QA1107",
                "the optimizer is not stepped through the scaler",
                "`scaler.step(optimizer)`",
                "each `.step()`",
                1,
            ),
        ),
        specific=3,
    ),
)
