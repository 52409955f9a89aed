"""Section 17 all over: an image classifier that keeps statistics, noise, weights and masks on the GPU."""

import argparse
import time

import numpy as np
import torch
from torch import nn, optim


class Normalize(nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, x):
        return (x - self.mean) / self.std


class ConvNet(nn.Module):
    def __init__(self, n_classes=4):
        super().__init__()
        self.normalize = Normalize([0.5, 0.4, 0.3], [0.2, 0.2, 0.2])
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)
        )
        self.state = nn.GRUCell(8, 8)
        self.classifier = nn.Linear(8, n_classes)

    def forward(self, x):
        z = self.features(self.normalize(x)).flatten(1)
        h = torch.zeros(z.size(0), 8, device=z.device)
        for _ in range(2):
            h = self.state(z, h)
        return self.classifier(h)


def mixup(x, y, classes, alpha=0.4):
    lam = np.random.default_rng(0).beta(alpha, alpha)
    order = torch.randperm(x.size(0), device=x.device)
    onehot = torch.zeros(y.size(0), classes, device=y.device)
    onehot.scatter_(1, y.unsqueeze(1), 1.0)
    return lam * x + (1 - lam) * x[order], lam * onehot + (1 - lam) * onehot[order]


def loader(batches, size=8):
    rng = np.random.default_rng(1)
    for _ in range(batches):
        images = torch.from_numpy(rng.random((size, 3, 8, 8), dtype=np.float32))
        labels = torch.from_numpy(rng.integers(0, 4, size))
        yield images, labels


class Trainer:
    def __init__(self, opt):
        self.device = torch.device(opt.device)
        self.net = ConvNet().to(self.device)
        self.class_weight = torch.tensor([1.0, 1.0, 2.0, 0.5]).to(self.device)
        self.optimizer = optim.SGD(self.net.parameters(), lr=opt.lr, momentum=0.9)

    def loss(self, logits, targets):
        logp = logits.log_softmax(-1)
        return -(targets * logp * self.class_weight).sum(-1).mean()

    def train_epoch(self, batches):
        self.net.train()
        start = time.time()
        total = torch.zeros((), device=self.device)
        for images, labels in batches:
            images = images.to(self.device, non_blocking=True)
            labels = labels.to(self.device, non_blocking=True)
            images, targets = mixup(images, labels, 4)
            noise = 0.01 * torch.randn(images.shape, device=self.device)
            logits = self.net(images + noise)
            loss = self.loss(logits, targets)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
        return total.item(), time.time() - start

    @torch.no_grad()
    def predict(self, batches):
        self.net.eval()
        out = []
        for images, _ in batches:
            images = images.to(self.device)
            out.append(self.net(images).argmax(1).cpu())
        return torch.cat(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--lr", type=float, default=0.05)
    opt = parser.parse_args([])
    torch.manual_seed(0)
    trainer = Trainer(opt)
    print(trainer.train_epoch(loader(3)))
    print(trainer.predict(loader(1)))
