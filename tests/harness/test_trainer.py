"""The reference trainer does what it teaches: on its own models, on transformers' and beside PEFT."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "trainer"
NAMES = ("data", "generate", "lora", "model", "train", "measure")


@pytest.fixture(scope="module")
def trainer():
    """The trainer's modules; their plain names must not stay behind for other tests."""
    before = {name: sys.modules.pop(name, None) for name in NAMES}
    sys.path.insert(0, str(FOLDER))
    try:
        yield type("Trainer", (), {name: importlib.import_module(name) for name in NAMES})
    finally:
        sys.path.remove(str(FOLDER))
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


CPU = torch.device("cpu")
torch.set_num_threads(1)  # the models are tiny; more threads only wait for each other


def short(trainer, **settings):
    return trainer.train.Settings(**{"pretraining_steps": 20, "steps": 6, "width": 32, **settings})


def prepared(trainer, settings):
    words = trainer.data.vocabulary()
    model = trainer.train.pretrain(settings, words, CPU)
    trained = trainer.train.prepare(model, settings)
    batches = trainer.data.Batches(trainer.data.read("sounds"), words, settings.batch_size, settings.seed)
    return model, trained, batches


@pytest.mark.parametrize("architecture", ["gpt", "llama"])
@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_it_trains_in_every_precision(trainer, architecture, precision):
    settings = short(trainer, model=architecture, precision=precision, steps=12)
    model, trained, batches = prepared(trainer, settings)
    before = [parameter.detach().clone() for parameter in trained]
    progress = trainer.train.finetune(model, batches, settings, CPU)
    assert progress.losses[-1] < progress.losses[0]
    assert all(map(math.isfinite, progress.losses))
    assert all(not torch.equal(old, new) for old, new in zip(before, trained, strict=True))
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {dtype}
    assert {p.dtype for p in trained} == {torch.float32}


def test_the_base_does_not_move(trainer):
    settings = short(trainer)
    model, _, batches = prepared(trainer, settings)
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" not in n}
    trainer.train.finetune(model, batches, settings, CPU)
    assert all(torch.equal(dict(model.named_parameters())[name], value) for name, value in frozen.items())


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(trainer, tmp_path):
    whole = short(trainer, steps=6)
    model, _, batches = prepared(trainer, whole)
    expected = trainer.train.finetune(model, batches, whole, CPU)

    file = tmp_path / "run.pt"
    half = short(trainer, steps=3)
    model, _, batches = prepared(trainer, half)
    trainer.train.finetune(model, batches, half, CPU, file)
    model, _, batches = prepared(trainer, whole)
    resumed = trainer.train.finetune(model, batches, whole, CPU, file)
    assert resumed.losses == pytest.approx(expected.losses)
    assert len(resumed.losses) == 6


def test_a_checkpoint_remembers_the_scale(trainer, tmp_path):
    settings = short(trainer, steps=2)
    model, _, batches = prepared(trainer, settings)
    trainer.train.finetune(model, batches, settings, CPU, tmp_path / "run.pt")
    state = torch.load(tmp_path / "run.pt", weights_only=True)
    assert state["scaler"]["scale"] == 65536.0
    assert all("lora_" in name for name in state["adapters"])


def test_a_nan_loss_stops_the_run(trainer):
    settings = short(trainer)
    model, trained, batches = prepared(trainer, settings)
    with torch.no_grad():
        trained[0].fill_(math.nan)
    with pytest.raises(trainer.train.NonFiniteLoss):
        trainer.train.finetune(model, batches, settings, CPU)


def test_a_model_without_the_layers_is_refused(trainer):
    with pytest.raises(ValueError, match="no layer of Sequential is called any of"):
        trainer.lora.inject(torch.nn.Sequential(torch.nn.Linear(2, 2)), 2, 4.0)


def test_another_layer_type_is_refused(trainer):
    with pytest.raises(TypeError, match="got Embedding"):
        trainer.lora.layer_shape(torch.nn.Embedding(3, 4))


def test_held_sentences_are_not_in_the_training_text(trainer):
    held, seen = set(trainer.data.read("held")), set(trainer.data.read("sounds"))
    assert held and seen and not held & seen
    ending = {sentence.split()[-4]: sentence.split()[-2] for sentence in seen}
    assert all(ending[sentence.split()[-4]] == sentence.split()[-2] for sentence in held)


def tiny(kind):
    transformers = pytest.importorskip("transformers")
    if kind == "gpt2":
        config = transformers.GPT2Config(n_layer=2, n_embd=64, n_head=2, vocab_size=100, n_positions=32)
        return transformers.GPT2LMHeadModel(config)
    config = transformers.LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=100,
    )
    return transformers.LlamaForCausalLM(config)


@pytest.mark.parametrize(("kind", "layers"), [("gpt2", 2 * 4), ("llama", 2 * 7)])
def test_the_same_injection_trains_the_models_of_transformers(trainer, kind, layers):
    torch.manual_seed(0)
    model = tiny(kind).half()
    trained = trainer.lora.add_lora(model, 4, 8.0)
    assert len(trained) == 2 * layers
    assert trainer.lora.trainable_share(model) < 0.2
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    scaler = torch.amp.GradScaler("cpu")
    ids = torch.randint(0, 100, (4, 12))
    losses = []
    for _ in range(8):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.float16):
            loss = model(input_ids=ids, labels=ids).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        scaler.step(optimizer)
        scaler.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    assert all(parameter.grad is not None for parameter in trained)


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_peft_adapts_the_same_layers_with_the_same_shapes(trainer, kind):
    peft = pytest.importorskip("peft")
    ours = tiny(kind)
    replaced = trainer.lora.inject(ours, 4, 8.0)
    targets = list(trainer.lora.target_layers(tiny(kind)))
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=targets, fan_in_fan_out=kind == "gpt2", bias="none"
    )
    theirs = peft.get_peft_model(tiny(kind), config)
    shapes = {
        name.removeprefix("base_model.model.").removesuffix(".lora_A.default.weight"): parameter.shape[1]
        for name, parameter in theirs.named_parameters()
        if name.endswith("lora_A.default.weight")
    }
    assert set(shapes) == set(replaced)
    for name in replaced:
        assert ours.get_submodule(name).lora_A.shape[0] == shapes[name]


def test_the_measurement_runs_and_writes_its_result(trainer, tmp_path, monkeypatch, capsys):
    file = tmp_path / "measured.json"
    arguments = "--device cpu --width 32 --layers 1 --context 8 --vocabulary 50 --batch 2 --steps 2"
    monkeypatch.setattr(sys, "argv", ["measure.py", *arguments.split(), "--result", str(file)])
    trainer.measure.main()
    import json

    rows = json.loads(file.read_text())["rows"]
    assert [row["precision"] for row in rows] == ["fp32", "bf16", "fp16"]
    assert all(row["finite"] and row["seconds_per_step"] > 0 for row in rows)
