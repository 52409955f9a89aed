"""Symptoms that people see while training: the four patterns of the checklist, and their kin."""

from __future__ import annotations

from .diagnose import Cause, Symptom

_SCALER = Cause(
    "QA1101",
    "FP16 training without a gradient scaler: small gradients become zero, and nothing skips a step"
    " that overflows",
    "create `torch.amp.GradScaler(device)` and send backward and step through it",
    "which dtype autocast has: FP16 needs a scaler, BF16 does not",
    1,
)
_HALF_PARAMETERS = Cause(
    "QA1102",
    "the parameters that are trained are FP16: their gradients cannot be unscaled, and without a scaler"
    " Adam divides by"
    " a second moment that has become zero",
    "keep what is trained in FP32 (the frozen base may stay FP16) and let autocast do the FP16 arithmetic",
    "print the dtype of every parameter that requires grad, just before the optimizer is built",
    2,
)
_HALF_ADAPTER = Cause(
    "QA1210",
    "adapter parameters were created in the FP16 dtype of the base model",
    "create them with `dtype=torch.float32`, or cast them after the injection",
    "the dtype of `lora_A` and `lora_B`; `weight.dtype` and `new_zeros` of an FP16 base hand FP16 on",
    3,
)
_LATE_CAST = Cause(
    "QA1128",
    "the model was cast to FP16 after the adapters or the optimizer existed, and the cast took them along",
    "cast the base model first, inject then, and build the optimizer last",
    "every `.half()` and `.to(torch.float16)` after the injection",
    4,
)

TRAINING: tuple[Symptom, ...] = (
    Symptom(
        "nan-loss",
        "the loss becomes NaN",
        (
            r"(?<![a-z])loss(?![a-z])[^\n]{0,24}\bnan\b",
            r"\bnan\b[^\n]{0,12}(?<![a-z])loss(?![a-z])",
            r"returned nan values in its",
            r"probability tensor contains either `inf`, `nan`",
            r"(?:found|contains?|detected|got) (?:invalid values: )?.{0,30}\bnans?\b",
            r"loss (?:is|was|became|turned|went) (?:to )?nan",
            r"non-?finite loss|loss is (?:not finite|infinite|inf)\b",
            r"total norm .{0,60}is non-finite, so it cannot be clipped",
        ),
        (
            _SCALER,
            _HALF_PARAMETERS,
            _HALF_ADAPTER,
            _LATE_CAST,
            Cause(
                "QA1107",
                "the optimizer steps past the scaler, with gradients 65,536 times too large or infinite",
                "call `scaler.step(optimizer)`, which also skips infinite gradients",
                "each `.step()` of the optimizer",
                5,
            ),
            Cause(
                "QA1109",
                "a call of the scaler comes too early or too late, so that scaled gradients reach the step",
                "scale, backward, unscale, clip, step, update: in this order",
                "the order of the scaler's calls, also over function boundaries",
                6,
            ),
            Cause(
                "QA1105",
                "gradients are clipped while they still carry the loss scale",
                "call `scaler.unscale_(optimizer)` before clipping",
                "what reads or changes `.grad` between backward and step",
                7,
            ),
            Cause(
                "QA1125",
                "a constant beyond 65,504 (a mask of -1e9) overflows in FP16, and a softmax over it is NaN",
                "use `torch.finfo(x.dtype).min`",
                "masks, epsilons below 6e-8 and large constants in the forward pass",
                8,
            ),
            Cause(
                None,
                "the learning rate is too high",
                "divide it by ten and warm up; if NaN comes at the same step again, it was not the"
                " learning rate",
                "whether the loss grows for some steps before it becomes NaN",
                9,
            ),
            Cause(
                "QA1106",
                "large gradients are never clipped (this makes a run unstable; it is not what makes NaN)",
                "clip to a norm of 1.0, after unscaling",
                "the gradient norm of the steps before the NaN",
                10,
            ),
        ),
        correction="Clipping does not prevent NaN: the norm of an infinite gradient is infinite, and"
        " dividing by it makes"
        " NaN of every gradient. The scaler prevents it, by skipping the step. So FP32 parameters and"
        " the scaler come"
        " first, the learning rate next, clipping last.",
    ),
    Symptom(
        "empty-optimizer",
        "the optimizer got an empty parameter list",
        (
            r"optimizer got an empty parameter list",
            r"create LoRA for \S+: 0 modules",
            r"\b0 (?:trainable )?modules\b.*lora",
            r"trainable params: 0\b",
        ),
        (
            Cause(
                "QA1205",
                "everything was frozen after the adapters were injected, and the adapters with it",
                "freeze first, inject then",
                "the order of the loop that sets `requires_grad = False` and of the injection",
                1,
            ),
            Cause(
                "QA1701",
                "the names that are looked for do not exist in this model (`q_proj` in GPT-2, `c_attn`"
                " in LLaMA)",
                "name the layers of this model: `c_attn`, `c_proj` for GPT-2; `q_proj`, `v_proj` for"
                " LLaMA and Mistral",
                "`print([name for name, _ in model.named_modules()])`, and how many of them your test"
                " accepts",
                2,
            ),
            Cause(
                "QA1202",
                "only `nn.Linear` is looked for, and GPT-2's layers are `Conv1D`",
                "accept `Conv1D` as well, with its dimensions as (in, out)",
                "`type(module).__name__` of the layers you want",
                3,
            ),
            Cause(
                "QA1209",
                "the adapters are kept in a Python list or dict, where no module finds their parameters",
                "keep them in an `nn.ModuleList` or `nn.ParameterList`, or collect them yourself",
                "whether `model.named_parameters()` lists them",
                4,
            ),
            Cause(
                "QA1114",
                "a generator of parameters was used up (counted, say) before the optimizer got it",
                "make it a `list(...)`",
                "who else consumes the iterator that the optimizer is given",
                5,
            ),
            Cause(
                "QA1208",
                "all is frozen and nothing new was added when the list is filtered",
                "inject before the filter, or collect the adapters' parameters explicitly",
                "print the number of parameters that require grad just before the optimizer",
                6,
            ),
            Cause(
                "QA1219",
                "`nn.Parameter(...).to(...)` is no parameter any more, so no module lists it",
                "move the data first: `nn.Parameter(tensor.to(...))`",
                "`type(layer.lora_A)`",
                7,
            ),
        ),
        correction="Forgetting to freeze cannot empty the optimizer: it trains everything instead."
        " Freezing at the wrong"
        " moment empties it, so adding a freeze after the injection, as is often advised, is the cause"
        " and not the cure.",
    ),
    Symptom(
        "dtype-mismatch",
        "two dtypes meet in one operation",
        (
            r"m(?:at)?1 and m(?:at)?2 (?:must|to) have the same dtype",
            r"expected m(?:at)?1 and m(?:at)?2 to have (?:the )?same dtype",
            r"expected (?:scalar type|same dtype)\b",
            r"input type \(.*\) and (?:bias|weight) type \(.*\) should be the same",
            r"expected target dtype to be",
            r"argument #1 'indices' to have one of the following scalar types",
            r"expected object of (?:scalar|data) type \w+ but got",
            r"self and mat2 must have the same dtype",
            r"expected object of type torch\.\S+ but found type torch\.",
            r"found dtype \w+ but expected \w+",
            r"expected dtype \w+ but got dtype \w+",
            r"source and destination dtypes match",
            r"result type \w+ can't be cast to the desired output type \w*(?:half|float)",
            r"\"\S+\" not implemented for 'Half'",
        ),
        (
            Cause(
                "QA1213",
                "an adapter multiplies the FP16 input by its FP32 matrices",
                "cast the input: `x.to(self.lora_A.dtype)`, or run under autocast",
                "the forward of the adapter",
                2,
            ),
            Cause(
                "QA1214",
                "an FP32 result was added to FP16 without a cast: the sum is FP32 and fails one layer later",
                "give the result back in the dtype of the base layer",
                "the layer *before* the one in the traceback",
                3,
            ),
            Cause(
                "QA1119",
                "a layer of your own holds FP32 parameters inside an FP16 model",
                "convert its input, or run the forward pass under autocast",
                "which parameters of the layer in the traceback are FP32",
                4,
            ),
            Cause(
                "QA1118",
                "the model is FP16 and gets FP32 input, or the reverse, outside autocast",
                "run the forward pass under `torch.autocast`, or cast the floating inputs (never the"
                " token ids)",
                "the dtype of the batch and of the model's first parameter",
                1,
            ),
            Cause(
                "QA1710",
                "an input of another floating dtype reaches the model",
                "cast it to the model's dtype",
                "the dtype of each tensor in the batch",
                5,
            ),
            Cause(
                "QA1103",
                "the forward pass stands outside the autocast that was meant for it",
                "put it inside",
                "whether evaluation or generation is called outside the `with torch.autocast(...)` block",
                6,
            ),
        ),
        correction="torch never says `expected same dtype`; look for `mat1 and mat2 must have the same"
        " dtype` and its kin."
        " FP16 adapters are no dtype mismatch: they raise `Attempting to unscale FP16 gradients`, or"
        " make NaN.",
    ),
    Symptom(
        "device-mismatch",
        "tensors of two devices meet in one operation",
        (
            r"expected all tensors to be on the same device",
            r"found at least two devices",
            r"tensor on device \w+ is not on the expected device",
            r"input type \(torch\.cuda\.\w+\) and weight type \(torch\.\w+\) should be the same",
            r"input type \(torch\.\w+\) and weight type \(torch\.cuda\.\w+\) should be the same",
            r"expected object of (?:backend|device type) \w+ but got",
            r"tensor for argument #\d .{0,40}is on cpu",
            r"expected device \S+ (?:and dtype \w+ )?but got device",
            r"tensors are not at the same device",
            r"input, output and indices must be on the current device",
            r"parameters and buffers on device \S+ .{0,30}but found one of them on device",
            r"indices should be either on cpu or on the same device",
            r"expected m(?:at)?1 and m(?:at)?2 to have same (?:dtype/)?device",
        ),
        (
            Cause(
                "QA1211",
                "the adapters were made after the model had moved to the GPU, and stayed on the CPU",
                "make them on the device of the layer they adapt: `device=module.weight.device`",
                "the device of `lora_A` and of the weight beside it",
                1,
            ),
            Cause(
                "QA1704",
                "`x.to(device)` was called and its result thrown away; a tensor does not move in place",
                "assign it: `x = x.to(device)`",
                "statements that only call `.to`, `.cuda` or `.float` on a tensor",
                2,
            ),
            Cause(
                "QA1707",
                "a batch of the loader reaches the model without being moved",
                "move each tensor of the batch: `batch = {k: v.to(device) for k, v in batch.items()}`",
                "the line that calls the model, and what it is given",
                3,
            ),
            Cause(
                "QA1706",
                "a plain tensor attribute of a module stays behind when the module moves",
                "use `register_buffer`",
                "tensors that `__init__` assigns to `self`",
                4,
            ),
            Cause(
                "QA1705",
                "a tensor is created without a device in the forward pass",
                "give it `device=x.device`",
                "`torch.zeros`, `torch.arange` and their kin in `forward`",
                5,
            ),
            Cause(
                "QA1219",
                "a parameter was moved by `nn.Parameter(...).to(device)`: what is registered is not"
                " what is used",
                "create the parameter from the moved tensor",
                "assignments over parameters",
                6,
            ),
        ),
        specific=2,
        correction="Comparing `tensor.device != model.device` first is not the cure: a plain module has"
        " no `.device`, `cuda`"
        " and `cuda:0` are never equal, and `.to` does nothing where nothing is to be done. Adapters in"
        " FP16 have nothing"
        " to do with it.",
    ),
    Symptom(
        "no-learning",
        "training runs and nothing is learned",
        (
            r"loss (?:does not|doesn't|is not|isn't|never) (?:\w+ )?(?:decreas\w*|fall\w*|chang\w*"
            r"|improv\w*|go\w* down)",
            r"loss (?:stays|is) (?:flat|constant|the same)",
            r"(?:weights|parameters|lora\w*) (?:never|do not|don't) (?:change|move|update)",
            r"not learning|lora_?b (?:stays|is all|remains) zero",
        ),
        (
            Cause(
                "QA1207",
                "the optimizer was built before the adapters existed",
                "build it last",
                "whether the optimizer's parameter groups hold the adapters",
                1,
            ),
            Cause(
                "QA1215",
                "the adapters are attached to the model and no forward pass uses them",
                "replace the layer by a wrapper whose forward adds the adapter",
                "whether a change of `lora_B` changes the output",
                2,
            ),
            Cause(
                "QA1116",
                "gradients are cleared between backward and step",
                "clear them after the step",
                "the place of `zero_grad`",
                3,
            ),
            Cause(
                "QA1105",
                "gradients are clipped while scaled, so that the step is thousands of times too small",
                "call `scaler.unscale_(optimizer)` before clipping",
                "what stands between backward and clip",
                4,
            ),
            Cause(
                "QA1104",
                "the backward pass starts from the unscaled loss, and the scaler divides once too often",
                "`scaler.scale(loss).backward()`",
                "on what `backward` is called",
                5,
            ),
            Cause(
                "QA1113",
                "the clip sees gradients that the optimizer does not own and that nobody unscales",
                "clip the optimizer's parameters only",
                "the argument of `clip_grad_norm_`",
                6,
            ),
            Cause(
                "QA1111",
                "the scaler is updated between two optimizers of one backward",
                "update once, at the end",
                "the calls of `update`",
                7,
            ),
            Cause(
                "QA1112",
                "a new scaler in every round skips every step",
                "create it once, before the loop",
                "where the scaler is made",
                8,
            ),
            Cause(
                "QA1218",
                "both matrices of the adapter start at zero",
                "give A random values",
                "the initialisation of A and B",
                9,
            ),
            Cause(
                "QA1217",
                "only the last layer's adapter is reached by the patched forward",
                "bind the layer by a default argument",
                "closures over the loop variable",
                10,
            ),
            Cause(
                "QA1206",
                "a misspelt freeze froze nothing, and the whole model moves instead of the adapters",
                "`requires_grad`",
                "the number of trainable parameters",
                11,
            ),
            Cause(
                "QA1101",
                "small gradients become zero in FP16 without a scaler",
                "use a scaler",
                "the share of gradients that are exactly zero",
                12,
            ),
        ),
    ),
    Symptom(
        "unscale-fp16-gradients",
        "the scaler refuses FP16 gradients",
        (r"attempting to unscale fp16 gradients",),
        (
            _HALF_PARAMETERS,
            _HALF_ADAPTER,
            _LATE_CAST,
            Cause(
                "QA1130",
                "a Trainer with `fp16=True` got a model that was loaded in FP16 and is trained whole",
                "load it in FP32, or train FP32 adapters on it",
                "`torch_dtype`/`dtype` of `from_pretrained` beside `fp16=True`",
                5,
            ),
            Cause(
                "QA1204",
                "the FP16 base model was not frozen, so its own FP16 parameters are trained",
                "freeze it before injecting",
                "how many parameters require grad: nearly all, or nearly none",
                6,
            ),
            Cause(
                None,
                "adapters were cast to FP16 again when a checkpoint was loaded",
                "cast them to FP32 after loading",
                "what is loaded or cast between the injection and the optimizer; PEFT before 0.11 keeps"
                " the base's dtype",
                7,
            ),
        ),
        specific=3,
    ),
)
