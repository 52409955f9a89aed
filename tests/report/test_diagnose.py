"""Every failure text leads to its symptom, and to the rule that can prove the cause."""

import io
import json
import sys

import pytest

from qalint.cli.diagnose import main
from qalint.diagnose import causes, files_named, recognise, symptom, symptoms
from qalint.registry import rules

CODES = {rule.code for rule in rules()}

# What torch 2.13, transformers, PEFT and accelerate say, older wordings included, the symptom, and one of its
# causes.
MESSAGES = [
    ("ValueError: Attempting to unscale FP16 gradients.", "unscale-fp16-gradients", "QA1102"),
    ("ValueError: Attempting to unscale FP16 gradients.", "unscale-fp16-gradients", "QA1128"),
    ("ValueError: Attempting to unscale FP16 gradients.", "unscale-fp16-gradients", "QA1210"),
    ("ValueError: Attempting to unscale FP16 gradients.", "unscale-fp16-gradients", "QA1204"),
    (
        "AssertionError: Attempted step but _scale is None.  This may indicate your script did not use"
        " scaler.scale(loss or outputs) earlier in the iteration.",
        "scale-is-none",
        "QA1104",
    ),
    (
        "AssertionError: Attempted unscale_ but _scale is None.  This may indicate your script did not use"
        " scaler.scale(loss or outputs) earlier in the iteration.",
        "scale-is-none",
        "QA1109",
    ),
    ("AssertionError: No inf checks were recorded for this optimizer.", "no-inf-checks", "QA1207"),
    ("AssertionError: No inf checks were recorded for this optimizer.", "no-inf-checks", "QA1116"),
    ("AssertionError: No inf checks were recorded prior to update.", "no-inf-checks", "QA1107"),
    ("AssertionError: No inf checks were recorded prior to update.", "no-inf-checks", "QA1109"),
    ("AssertionError: No inf checks were recorded prior to update.", "no-inf-checks", "QA1127"),
    ("RuntimeError: step() has already been called since the last update().", "missing-update", "QA1108"),
    ("RuntimeError: unscale_() is being called after step().", "missing-update", "QA1108"),
    ("RuntimeError: unscale_() is being called after step().", "missing-update", "QA1109"),
    (
        "RuntimeError: unscale_() has already been called on this optimizer since the last update().",
        "double-unscale",
        "QA1110",
    ),
    (
        "RuntimeError: unscale_() has already been called on this optimizer since the last update().",
        "double-unscale",
        "QA1108",
    ),
    (
        "UserWarning: `parameters` is an empty generator, no gradient clipping will occur.",
        "empty-clip",
        "QA1114",
    ),
    (
        "RuntimeError: Closure use is not currently supported if GradScaler is enabled.",
        "closure-with-scaler",
        "QA1126",
    ),
    (
        'NotImplementedError: "_amp_foreach_non_finite_check_and_unscale_cuda" not implemented for'
        " 'BFloat16'",
        "unscale-bfloat16",
        "QA1122",
    ),
    (
        "RuntimeError: torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.",
        "unsafe-autocast",
        "QA1131",
    ),
    ("RuntimeError: value cannot be converted to type c10::Half without overflow", "half-overflow", "QA1125"),
    (
        "RuntimeError: value cannot be converted to type at::Half without overflow: -1e+09",
        "half-overflow",
        "QA1125",
    ),
    (
        "UserWarning: Detected call of `lr_scheduler.step()` before `optimizer.step()`.",
        "scheduler-before-optimizer",
        "QA1107",
    ),
    ("step 12: loss nan", "nan-loss", "QA1101"),
    ("{'loss': nan, 'grad_norm': nan, 'learning_rate': 2e-05}", "nan-loss", "QA1102"),
    ("epoch 1: train_loss=nan", "nan-loss", "QA1125"),
    ("RuntimeError: Function 'MulBackward0' returned nan values in its 0th output.", "nan-loss", "QA1101"),
    (
        "RuntimeError: probability tensor contains either `inf`, `nan` or element < 0",
        "nan-loss",
        "QA1102",
    ),
    ("ValueError: optimizer got an empty parameter list", "empty-optimizer", "QA1205"),
    ("ValueError: optimizer got an empty parameter list", "empty-optimizer", "QA1701"),
    ("ValueError: optimizer got an empty parameter list", "empty-optimizer", "QA1202"),
    ("ValueError: optimizer got an empty parameter list", "empty-optimizer", "QA1209"),
    ("ValueError: optimizer got an empty parameter list", "empty-optimizer", "QA1114"),
    ("ValueError: optimizer got an empty parameter list", "empty-optimizer", "QA1208"),
    ("create LoRA for U-Net: 0 modules.", "empty-optimizer", "QA1701"),
    (
        "peft.utils.NoMatchingPeftModuleError: Target modules {'q_proj'} not found in the base model.",
        "target-modules-not-found",
        "QA1701",
    ),
    (
        "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn",
        "no-graph",
        "QA1205",
    ),
    (
        "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn",
        "no-graph",
        "QA1215",
    ),
    (
        "RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn",
        "no-graph",
        "QA1220",
    ),
    (
        "UserWarning: None of the inputs have requires_grad=True. Gradients will be None",
        "checkpointing-without-gradients",
        "QA1220",
    ),
    ("RuntimeError: mat1 and mat2 shapes cannot be multiplied (64x64 and 192x4)", "shape-mismatch", "QA1201"),
    ("RuntimeError: size mismatch, m1: [64 x 64], m2: [192 x 4]", "shape-mismatch", "QA1201"),
    (
        "RuntimeError: The size of tensor a (64) must match the size of tensor b (192) at non-singleton"
        " dimension 1",
        "shape-mismatch",
        "QA1201",
    ),
    ("AttributeError: 'Conv1D' object has no attribute 'in_features'", "conv1d-attribute", "QA1203"),
    ("ValueError: can't optimize a non-leaf Tensor", "non-leaf-parameter", "QA1219"),
    (
        "TypeError: cannot assign 'torch.BFloat16Tensor' as parameter 'lora_A' (torch.nn.Parameter or"
        " None expected)",
        "non-leaf-parameter",
        "QA1219",
    ),
    (
        "TypeError: optimizer can only optimize Tensors, but one of the params is"
        " torch.nn.modules.linear.Linear",
        "modules-in-optimizer",
        None,
    ),
    ("RuntimeError: dictionary changed size during iteration", "changed-while-iterating", "QA1216"),
    ("RecursionError: maximum recursion depth exceeded", "changed-while-iterating", "QA1216"),
    (
        "RuntimeError: mat1 and mat2 must have the same dtype, but got Float and Half",
        "dtype-mismatch",
        "QA1118",
    ),
    (
        "RuntimeError: expected m1 and m2 to have the same dtype, but got: c10::Half != float",
        "dtype-mismatch",
        "QA1213",
    ),
    (
        "RuntimeError: expected mat1 and mat2 to have the same dtype, but got: float != c10::Half",
        "dtype-mismatch",
        "QA1214",
    ),
    ("RuntimeError: expected scalar type Half but found Float", "dtype-mismatch", "QA1119"),
    (
        "RuntimeError: Input type (c10::Half) and bias type (float) should be the same",
        "dtype-mismatch",
        "QA1119",
    ),
    (
        "RuntimeError: Expected tensor for argument #1 'indices' to have one of the following scalar"
        " types: Long,"
        " Int; but got torch.HalfTensor instead (while checking arguments for embedding)",
        "dtype-mismatch",
        "QA1118",
    ),
    ("RuntimeError: expected target dtype to be Long or Byte, but got Half", "dtype-mismatch", "QA1118"),
    ("RuntimeError: expected same dtype", "dtype-mismatch", "QA1118"),
    (
        "RuntimeError: Expected all tensors to be on the same device, but found at least two devices,"
        " cuda:0 and cpu!",
        "device-mismatch",
        "QA1211",
    ),
    (
        "RuntimeError: Expected all tensors to be on the same device, but found at least two devices,"
        " cuda:0 and cpu!",
        "device-mismatch",
        "QA1704",
    ),
    (
        "RuntimeError: Tensor on device meta is not on the expected device cpu!",
        "device-mismatch",
        "QA1705",
    ),
    (
        "RuntimeError: Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should"
        " be the same",
        "device-mismatch",
        "QA1707",
    ),
    ("RuntimeError: expected mat1 and mat2 to have same dtype/device", "device-mismatch", "QA1211"),
    ("AttributeError: 'Linear' object has no attribute 'device'", "module-has-no-device", "QA1709"),
    ("AssertionError: Torch not compiled with CUDA enabled", "no-cuda-here", "QA1712"),
    (
        "FutureWarning: `torch.cuda.amp.GradScaler(args...)` is deprecated. Please use"
        " `torch.amp.GradScaler('cuda', args...)` instead.",
        "deprecated-amp",
        "QA1123",
    ),
    (
        "FutureWarning: `torch.cuda.amp.autocast(args...)` is deprecated. Please use"
        " `torch.amp.autocast('cuda', args...)` instead.",
        "deprecated-amp",
        "QA1123",
    ),
    (
        "UserWarning: torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
        "amp-disabled",
        "QA1124",
    ),
    (
        "UserWarning: CUDA is not available or torch_xla is imported. Disabling autocast.",
        "amp-disabled",
        "QA1712",
    ),
    (
        "ValueError: Expected `device_type` of type `str`, got: `<class 'torch.device'>`",
        "autocast-arguments",
        "QA1124",
    ),
    ("AttributeError: 'NoneType' object has no attribute 'scale'", "scaler-is-none", None),
    ("ValueError: At most one of fp16 and bf16 can be True, but not both", "precision-flags", "QA1130"),
    ("the loss does not decrease", "no-learning", "QA1207"),
    # marimo
    (
        "NameError: name '_losses' is not defined. Did you mean: '_cell_MJUe_losses'?",
        "private-name",
        "QA1301",
    ),
    (
        "Name `_losses` is not defined. Names prefixed with an underscore are local to the cell that"
        " defines them.",
        "private-name",
        "QA1301",
    ),
    ("NameError: name 'losses' is not defined", "undefined-name", "QA1304"),
    (
        "critical[multiple-definitions]: Variable 'i' is defined in multiple cells",
        "multiple-definitions",
        "QA1313",
    ),
    ("critical[cycle-dependencies]: Cell is part of a cycle", "cyclic-cells", "QA1314"),
    (
        "critical[setup-cell-dependencies]: Setup cell cannot refer to other cells",
        "setup-depends-on-cell",
        "QA1315",
    ),
    ("SyntaxError: import * only allowed at module level", "star-import", "QA1316"),
    ("RuntimeError: Unparsable cell encountered", "unparsable-cell", "QA1319"),
    ("SyntaxError: 'return' outside function", "unparsable-cell", "QA1307"),
    ("ValueError: Unsupported callout kind: alert", "callout-kind", "QA1606"),
    ("ancestor-stopped", "output-vanishes", "QA1308"),
    ("the charts are not shown", "nothing-displayed", "QA1305"),
    ("Training completes but no charts shown", "nothing-displayed", "QA1303"),
    ("RuntimeError: operator torchvision::nms does not exist", "torchvision-mismatch", "QA1502"),
    ("ModuleNotFoundError: No module named 'transformers'", "stale-import", "QA1505"),
]


@pytest.mark.parametrize(("message", "name", "rule"), MESSAGES)
def test_a_message_leads_to_its_symptom_and_rule(message, name, rule):
    found = recognise(f"Traceback (most recent call last):\n  ...\n{message}\n")
    assert [each.symptom.name for each in found] == [name]
    assert found[0].row == 3
    if rule:
        assert rule in [cause.rule for cause in causes([found[0].symptom])]


# Texts that torch 1.x said, and libraries of its time, by their symptom.
OLD = {
    "dtype-mismatch": """
        Expected object of scalar type Half but got scalar type Float for argument #2 'mat2' in call to _th_mm
        Expected object of type torch.cuda.HalfTensor but found type torch.cuda.FloatTensor for argument #2
        Input type (torch.cuda.HalfTensor) and weight type (torch.cuda.FloatTensor) should be the same
        expected scalar type Float but found Half
        "addmm_impl_cpu_" not implemented for 'Half'
        "LayerNormKernelImpl" not implemented for 'Half'
        Found dtype Half but expected Float
        expected dtype Half but got dtype Float
        Index put requires the source and destination dtypes match, got Half for the destination
        result type Float can't be cast to the desired output type Half
        self and mat2 must have the same dtype
    """,
    "device-mismatch": """
        Expected object of backend CUDA but got backend CPU for argument #4 'mat1'
        Expected object of device type cuda but got device type cpu for argument #2 'mat2'
        expected device cuda:0 but got device cpu
        expected device cpu and dtype Float but got device cuda:0 and dtype Half
        Tensor for argument #2 'mat1' is on CPU, but expected it to be on GPU
        Input, output and indices must be on the current device
        Input and hidden tensors are not at the same device
        Input and parameter tensors are not at the same device
        parameters and buffers on device cuda:0 (device_ids[0]) but found one of them on device: cpu
        indices should be either on cpu or on the same device as the indexed tensor (cuda)
    """,
    "no-graph": """
        element 0 of variables does not require grad and does not have a grad_fn
        One of the differentiated Tensors does not require grad
    """,
    "shape-mismatch": """
        mat1 dim 1 must match mat2 dim 0
        size mismatch, got 64, 64x64,192
    """,
    "non-leaf-parameter": "can't optimize a non-leaf Variable",
    "nan-loss": """
        The total norm of order 2.0 for gradients from `parameters` is non-finite, so it cannot be clipped.
        Loss is nan, stopping training
    """,
    "scale-collapses": """
        Minimum loss scale reached (0.0001). Your loss is probably exploding.
        Current loss scale already at minimum - cannot decrease scale anymore. Exiting run.
        Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 0.0625
    """,
    "amp-too-new": """
        cannot import name 'GradScaler' from 'torch.amp'
        module 'torch' has no attribute 'autocast'
        module 'torch.amp' has no attribute 'GradScaler'
        module 'torch.cuda' has no attribute 'amp'
        autocast.__init__() got an unexpected keyword argument 'dtype'
    """,
}


@pytest.mark.parametrize(
    ("name", "message"),
    [(name, line.strip()) for name, text in OLD.items() for line in text.strip().splitlines()],
)
def test_an_old_wording_leads_to_the_same_symptom(name, message):
    assert [each.symptom.name for each in recognise(f"RuntimeError: {message}")] == [name]


@pytest.mark.parametrize(
    "harmless",
    [
        "Gradient overflow.  Skipping step, loss scaler 0 reducing loss scale to 32768.0",
        "all tensors are on the same device, as they should be",
        "ids are on the same device as the model",
        "epoch 3 step 200 loss 0.251 lr 2e-4",
        "financial losses of the banana trade",
        "torch.nan_to_num was applied to the loss",
        "INFO all 12 tests passed",
        "the name of the model is gpt2",
    ],
)
def test_ordinary_lines_are_no_symptom(harmless):
    assert recognise(harmless) == []


def test_a_message_wrapped_by_the_terminal_and_painted_is_read():
    log = "\x1b[31mRuntimeError: mat1 and mat2 must have\x1b[0m\nthe same dtype, but got Float and Half\n"
    assert [(each.symptom.name, each.row) for each in recognise(log)] == [("dtype-mismatch", 1)]


def test_several_symptoms_come_in_the_order_of_the_log():
    log = "loss nan\nvalue error\nValueError: optimizer got an empty parameter list\nloss: nan\n"
    assert [(each.symptom.name, each.row) for each in recognise(log)] == [
        ("nan-loss", 1),
        ("empty-optimizer", 3),
    ]


def test_files_of_the_traceback_that_are_the_readers_own():
    log = (
        'File "/home/me/train.py", line 3, in <module>\n'
        'File "/x/lib/python3.11/site-packages/torch/amp/grad_scaler.py", line 340, in unscale_\n'
        'File "<stdin>", line 1\n'
    )
    assert files_named(log) == ["/home/me/train.py"]


def rule_parameters():
    for each in symptoms():
        for cause in each.causes:
            if cause.rule:
                missing = cause.rule not in CODES
                reason = f"{cause.rule} is not registered yet"
                marks = [pytest.mark.xfail(reason=reason, strict=True)] if missing else []
                yield pytest.param(cause.rule, marks=marks, id=f"{each.name}-{cause.rule}")


@pytest.mark.parametrize("rule", list(rule_parameters()))
def test_the_rule_of_a_cause_exists(rule):
    assert rule in CODES


@pytest.mark.parametrize("each", symptoms(), ids=lambda each: each.name)
def test_a_symptom_says_why_what_to_do_and_where_to_look(each):
    assert each.causes
    for cause in each.causes:
        assert cause.why and cause.fix and cause.look_at
        assert not cause.why.endswith(".")


def order(name):
    return [cause.rule for cause in sorted(causes([symptom(name)]), key=lambda cause: cause.first)]


def test_the_four_patterns_are_fixed_in_the_right_order():
    nan = order("nan-loss")
    assert nan.index("QA1101") < nan.index("QA1102") < nan.index(None) < nan.index("QA1106")
    empty = order("empty-optimizer")
    assert empty[0] == "QA1205"
    assert "QA1204" not in empty
    shown = order("nothing-displayed")
    assert shown[:2] == ["QA1305", "QA1306"]
    assert order("device-mismatch")[0] == "QA1211"
    for name in ("nan-loss", "empty-optimizer", "nothing-displayed", "dtype-mismatch", "device-mismatch"):
        assert symptom(name).correction


def test_unknown_symptom_and_silent_log_are_errors(capsys, tmp_path):
    assert main(["--symptom", "nan-los"]) == 2
    assert "did you mean `nan-loss`" in capsys.readouterr().err
    log = tmp_path / "log.txt"
    log.write_text("all is well\n")
    assert main(["--log", str(log)]) == 2
    assert "no symptom" in capsys.readouterr().err
    assert main(["--log", str(tmp_path / "missing.txt")]) == 2
    assert main(["--symptom", "nan-loss", str(tmp_path / "missing.py")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_json_without_files_names_causes_and_proves_none(capsys):
    assert main(["--symptom", "nan-loss", "--output-format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["symptoms"] == ["nan-loss"]
    assert {frozenset(cause) for cause in found["causes"]} == {
        frozenset(("rule", "why", "rank", "proven", "look_at"))
    }
    assert [cause["rank"] for cause in found["causes"]] == list(range(1, len(found["causes"]) + 1))
    assert found["causes"][0]["rule"] == "QA1101"
    assert all(cause["proven"] == [] for cause in found["causes"])


PROVEN = """\
import torch

model = torch.nn.Linear(4, 1)
scaler = torch.cuda.amp.GradScaler()
"""


def test_what_the_code_proves_comes_first(capsys, tmp_path):
    code = tmp_path / "train.py"
    code.write_text(PROVEN)
    warning = "FutureWarning: `torch.cuda.amp.GradScaler(args...)` is deprecated."
    assert main(["--symptom", warning, str(code), "--output-format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["causes"][0]["rule"] == "QA1123"
    assert [finding["location"]["row"] for finding in found["causes"][0]["proven"]] == [4]
    assert main(["--symptom", warning, str(code)]) == 0
    out = capsys.readouterr().out
    assert "Proven in the code" in out
    assert "train.py:4" in out


def test_a_log_on_standard_input_leads_to_the_files_of_its_traceback(capsys, monkeypatch, tmp_path):
    code = tmp_path / "train.py"
    code.write_text(PROVEN)
    warning = "FutureWarning: `torch.cuda.amp.GradScaler(args...)` is deprecated."
    log = f'  File "{code}", line 4, in <module>\n{warning}\n'
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(log.encode())))
    assert main(["-"]) == 0
    captured = capsys.readouterr()
    assert "Proven in the code" in captured.out
    assert "train.py" in captured.err


def test_list_names_every_symptom(capsys):
    assert main(["--list"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()] == [each.name for each in symptoms()]


def test_markdown(capsys):
    assert main(["--symptom", "empty-optimizer", "--output-format", "markdown"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("## the optimizer got an empty parameter list")
    assert "(QA1205)" in out
