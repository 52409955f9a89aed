"""A decoder that is trained on the GPU and then used in half precision."""

import copy

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

PAD = 0
device = "cuda" if torch.cuda.is_available() else "cpu"


class Positional(nn.Module):
    def __init__(self, dim, max_len=64):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        freq = torch.exp(torch.arange(0, dim, 2) * (-4.0 / dim))
        table = torch.zeros(max_len, dim)
        table[:, 0::2] = torch.sin(position * freq)
        table[:, 1::2] = torch.cos(position * freq)
        self.register_buffer("table", table, persistent=False)

    def forward(self, x):
        return x + self.table[: x.size(1)]


class Translator(nn.Module):
    def __init__(self, vocab=24, dim=16):
        super().__init__()
        self.embed = nn.Embedding(vocab, dim, padding_idx=PAD)
        self.positional = Positional(dim)
        self.lstm = nn.LSTM(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, vocab)

    def forward(self, tokens):
        h0 = torch.zeros(1, tokens.size(0), 16, device=tokens.device)
        c0 = torch.zeros(1, tokens.size(0), 16, device=tokens.device)
        y, _ = self.lstm(self.positional(self.embed(tokens)), (h0, c0))
        return self.out(y)


def collate(rows):
    source = pad_sequence([row[0] for row in rows], batch_first=True, padding_value=PAD)
    target = pad_sequence([row[1] for row in rows], batch_first=True, padding_value=PAD)
    return source, target


def corpus(n=12):
    rows = []
    for i in range(n):
        length = 3 + i % 4
        row = torch.randint(1, 24, (length + 1,))
        rows.append((row[:-1], row[1:]))
    return rows


torch.manual_seed(0)
model = Translator().to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
loss_fn = nn.CrossEntropyLoss(ignore_index=PAD)
train_loader = DataLoader(corpus(), batch_size=4, shuffle=True, collate_fn=collate)

for _ in range(2):
    for source, target in train_loader:
        source = source.to(device)
        target = target.to(device)
        logits = model(source)
        loss = loss_fn(logits.reshape(-1, logits.size(-1)), target.reshape(-1))
        keep = (target != PAD).float()
        smooth = (logits.logsumexp(-1) * keep).sum() / keep.sum()
        optimizer.zero_grad()
        (loss + 0.01 * smooth).backward()
        optimizer.step()

head = copy.deepcopy(model.out).half()
head.eval()
with torch.no_grad():
    states = torch.randn(2, 16, device=device)
    scores = head(states.half())
print(scores.shape)
