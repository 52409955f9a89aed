"""Names that torch, its modules and adapters go by: bases, methods, conversions, hooks."""

from __future__ import annotations

PLAIN_BASES = frozenset(
    {"torch.nn.Module", "torch.nn.modules.Module", "torch.nn.modules.module.Module", "builtins.object"}
)
CHANGING = ("freeze", "train", "adapt", "lora", "grad", "activat", "inject", "wrap", "prepare")
"""Words in the names of functions out of sight that may change what is trained."""
SAYING = frozenset(
    (
        "datasets",
        "diffusers",
        "ema_pytorch",
        "evaluate",
        "fvcore",
        "logging",
        "mlflow",
        "safetensors",
        "sklearn",
        "thop",
        "timm",
        "torch",
        "torch_ema",
        "torchinfo",
        "torchmetrics",
        "torchsummary",
        "torchvision",
        "transformers",
    )
)
"""Packages whose functions say so in their names where they change what is trained."""
CONVERSIONS = frozenset({"to", "cuda", "cpu", "half", "float", "double", "bfloat16"})
HOOKS = "<forward hooks>"
TENSORS = frozenset({"input_ids", "attention_mask", "token_type_ids", "pixel_values", "labels"})
"""What a tokenizer or processor gives under these names are tensors."""
QUIET = frozenset(
    {
        "contextlib.closing",
        "contextlib.nullcontext",
        "contextlib.redirect_stderr",
        "contextlib.redirect_stdout",
        "contextlib.suppress",
        "gzip.open",
        "h5py.File",
        "marimo.status.spinner",
        "mlflow.start_run",
        "safetensors.safe_open",
        "tempfile.NamedTemporaryFile",
        "tempfile.TemporaryDirectory",
        "torch.autograd.detect_anomaly",
        "torch.autograd.profiler.record_function",
        "torch.autograd.set_detect_anomaly",
        "torch.backends.cuda.sdp_kernel",
        "torch.cuda.device",
        "torch.cuda.nvtx.range",
        "torch.cuda.stream",
        "torch.enable_grad",
        "torch.nn.attention.sdpa_kernel",
        "torch.profiler.profile",
        "torch.profiler.record_function",
        "torch.random.fork_rng",
        "torch.set_grad_enabled",
        "warnings.catch_warnings",
        "zipfile.ZipFile",
    }
)
"""Contexts that leave alone in which precision a program computes."""
TRACING = frozenset(
    {"is_tracing", "_is_tracing", "is_scripting", "is_in_onnx_export", "_get_tracing_state", "is_exporting"}
)
"""Ask whether somebody traces or exports the model."""
UNSEEN = "?"
"""Begins the name of what an adapter was made by, where that is out of sight."""
ADAPTERS = ("lora", "dora", "adapter", "lowrank", "low_rank")
RANKS = frozenset({"r", "rank", "lora_r", "lora_rank", "lora_alpha"})
CASTS = {"half": "float16", "float": "float32", "double": "float64", "bfloat16": "bfloat16"}
WALKS = frozenset({"modules", "named_modules", "children", "named_children"})
MODULE_METHODS = (
    WALKS
    | CONVERSIONS
    | frozenset(
        [
            "parameters",
            "named_parameters",
            "buffers",
            "named_buffers",
            "requires_grad_",
            "train",
            "eval",
            "zero_grad",
            "state_dict",
            "load_state_dict",
            "register_buffer",
            "register_parameter",
            "add_module",
            "register_module",
            "get_submodule",
            "get_parameter",
            "set_submodule",
            "apply",
            "register_forward_hook",
            "register_forward_pre_hook",
            "register_full_backward_hook",
            "named_buffers",
            "forward",
            "generate",
            "save_pretrained",
            "push_to_hub",
            "gradient_checkpointing_enable",
            "gradient_checkpointing_disable",
            "enable_input_require_grads",
            "print_trainable_parameters",
            "get_nb_trainable_parameters",
            "get_input_embeddings",
            "get_output_embeddings",
            "resize_token_embeddings",
            "tie_weights",
            "merge_and_unload",
            "num_parameters",
            "append",
            "extend",
            "insert",
            "type",
            "share_memory",
            "compile",
            "extra_repr",
            "reset_parameters",
            "items",
            "keys",
            "values",
            "get_base_model",
            "set_adapter",
            "__class__",
            "_modules",
            "_parameters",
            "__dict__",
            "add_adapter",
            "training",
            "config",
            "generation_config",
            "device",
            "dtype",
            "name_or_path",
            "num_labels",
        ]
    )
)
REFINING = frozenset(
    [
        "named_modules",
        "modules",
        "named_children",
        "children",
        "parameters",
        "named_parameters",
        "requires_grad_",
        "get_submodule",
        "register_forward_hook",
        "gradient_checkpointing_enable",
        "enable_input_require_grads",
        "register_parameter",
        "add_module",
        "named_buffers",
        "print_trainable_parameters",
        "set_submodule",
        "zero_grad",
    ]
) - {"zero_grad"}
HARMLESS = frozenset(
    [
        "print",
        "len",
        "type",
        "isinstance",
        "id",
        "repr",
        "str",
        "hasattr",
        "callable",
        "dir",
        "vars",
        "next",
        "sum",
        "list",
        "sorted",
        "max",
        "min",
        "bool",
        "hash",
        "format",
        "issubclass",
        "any",
        "all",
        "enumerate",
        "zip",
        "iter",
    ]
)


def changes(name: str) -> bool:
    """Whether what is called so may change what is trained, as far as its name says."""
    low = name.lower()
    return "checkpointing" not in low and any(word in low for word in CHANGING)


def keeps_trained(name: str) -> bool:
    """Whether a library function is known to leave alone what is trained of the models that it gets."""
    return name.partition(".")[0] in SAYING and not changes(name)
