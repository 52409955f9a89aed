"""Low rank convolutions beside frozen ones: a small one of the same size, and one by one back up."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def block(channels_in, channels_out, stride=1):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
        nn.GroupNorm(2, channels_out),
        nn.ReLU(inplace=False),
    )


class Net(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.stem = block(3, 8)
        self.stage = nn.Sequential(block(8, 16, 2), block(16, 16))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        x = self.stage(self.stem(x))
        return self.fc(self.pool(x).flatten(1))


class LoRAConv2d(nn.Module):
    def __init__(self, conv: nn.Conv2d, rank: int = 2, alpha: float = 2.0):
        super().__init__()
        self.conv = conv
        self.down = nn.Conv2d(conv.in_channels, rank, conv.kernel_size, conv.stride, conv.padding, bias=False)
        self.up = nn.Conv2d(rank, conv.out_channels, 1, bias=False)
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)
        self.scale = alpha / rank

    def forward(self, x):
        return self.conv(x) + self.scale * self.up(self.down(x))


def replace_convolutions(module, rank):
    for name, child in module.named_children():
        if isinstance(child, nn.Conv2d):
            setattr(module, name, LoRAConv2d(child, rank))
        else:
            replace_convolutions(child, rank)


def accuracy(net, loader, device):
    net.eval()
    hits = seen = 0
    with torch.no_grad():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            hits += (net(images).argmax(1) == labels).sum().item()
            seen += labels.numel()
    return hits / seen


def main():
    torch.manual_seed(9)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    net = Net()
    for p in net.parameters():
        p.requires_grad = False
    replace_convolutions(net, rank=2)
    net.fc.requires_grad_(True)
    net = net.to(device)

    optimizer = torch.optim.SGD(filter(lambda p: p.requires_grad, net.parameters()), lr=0.05, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    data = TensorDataset(torch.rand(24, 3, 8, 8), torch.randint(0, 3, (24,)))
    loader = DataLoader(data, batch_size=8, shuffle=True)
    for epoch in range(2):
        net.train()
        for images, labels in loader:
            images = images.to(device, non_blocking=True)
            labels = labels.to(device, non_blocking=True)
            optimizer.zero_grad()
            loss = criterion(net(images), labels)
            loss.backward()
            optimizer.step()
        print(epoch, f"{accuracy(net, loader, device):.2f}")
    torch.save({k: v for k, v in net.state_dict().items() if ".up." in k or ".down." in k}, "conv_lora.pt")


if __name__ == "__main__":
    main()
