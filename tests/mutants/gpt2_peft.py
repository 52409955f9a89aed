"""Fine-tune a small GPT-2 with LoRA (PEFT), then merge and save it."""

import argparse
import tempfile

import torch
from peft import LoraConfig, TaskType, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--r", type=int, default=4)
    parser.add_argument("--lora_alpha", type=int, default=8)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--output_dir", default=None)
    return parser.parse_args([])


def build_model(args):
    config = GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=2, n_head=2, use_cache=False)
    model = GPT2LMHeadModel(config)
    lora_config = LoraConfig(
        r=args.r,
        lora_alpha=args.lora_alpha,
        target_modules=["c_attn", "c_proj"],
        lora_dropout=0.05,
        bias="none",
        fan_in_fan_out=True,
        task_type=TaskType.CAUSAL_LM,
    )
    model = get_peft_model(model, lora_config)
    model.print_trainable_parameters()
    return model


def main():
    args = parse_args()
    torch.manual_seed(42)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    model = build_model(args)
    model.to(device)
    model.train()

    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    for step in range(args.steps):
        input_ids = torch.randint(0, 64, (4, 16))
        batch = {"input_ids": input_ids, "labels": input_ids.clone()}
        batch = {k: v.to(device) for k, v in batch.items()}
        outputs = model(**batch)
        loss = outputs.loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step}: loss {loss.item():.4f}")

    output_dir = args.output_dir or tempfile.mkdtemp()
    model.save_pretrained(output_dir)
    merged = model.merge_and_unload()
    print(type(merged).__name__)


if __name__ == "__main__":
    main()
