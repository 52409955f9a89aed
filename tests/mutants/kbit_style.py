"""What prepare_model_for_kbit_training does, by hand, and a classification head that is trained as well."""

import torch
import torch.nn as nn
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForSequenceClassification


def get_model(num_labels=3):
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_labels=num_labels,
        pad_token_id=0,
    )
    return LlamaForSequenceClassification(config)


def prepare_for_training(model):
    for param in model.parameters():
        param.requires_grad = False
        if param.ndim == 1:
            param.data = param.data.to(torch.float32)
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.enable_input_require_grads()
    return model


def wrap(model, adapter_dir=None):
    if adapter_dir is not None:
        return PeftModel.from_pretrained(model, adapter_dir, is_trainable=True)
    peft_config = LoraConfig(
        task_type="SEQ_CLS",
        r=4,
        lora_alpha=4,
        lora_dropout=0.1,
        target_modules=["q_proj", "v_proj"],
        modules_to_save=["score"],
    )
    return get_peft_model(model, peft_config)


class Trainer:
    def __init__(self, model, lr=1e-3, device="cuda"):
        self.device = device
        self.model = model.to(device)
        self.optim = torch.optim.AdamW(
            (p for p in self.model.parameters() if p.requires_grad), lr=lr, weight_decay=0.01
        )
        self.criterion = nn.CrossEntropyLoss()

    def run(self, batches):
        self.model.train()
        for x, y in batches:
            x, y = x.to(self.device), y.to(self.device)
            self.optim.zero_grad()
            logits = self.model(input_ids=x).logits
            loss = self.criterion(logits.float(), y)
            loss.backward()
            self.optim.step()
            yield loss.item()


def main():
    torch.manual_seed(1)
    model = prepare_for_training(get_model())
    model = wrap(model)
    trainer = Trainer(model)
    data = [(torch.randint(1, 50, (4, 10)), torch.randint(0, 3, (4,))) for _ in range(4)]
    for i, loss in enumerate(trainer.run(data)):
        print(i, round(loss, 4))


if __name__ == "__main__":
    main()
