"""The networks of rescom in plain PyTorch, with the state-dict names that checkpoints use."""

import torch
from torch import nn
from torch.nn import functional as F


class Basic(nn.Module):
    def __init__(self, inner, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.pad = planes // 4 if stride == 2 else None

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.pad is not None:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    def __init__(self, blocks, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        inner = 16
        for stage, planes in enumerate((16, 32, 64)):
            row = []
            for b in range(blocks):
                row.append(Basic(inner, planes, 2 if stage and b == 0 else 1))
                inner = planes
            setattr(self, f"layer{stage + 1}", nn.Sequential(*row))
        self.features = 64

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.layer3(self.layer2(self.layer1(x))).mean((2, 3))


class Bottleneck(nn.Module):
    def __init__(self, inner, width, out, stride, groups, first):
        super().__init__()
        self.conv1 = nn.Conv2d(inner, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.downsample = None
        if first:
            short = nn.Conv2d(inner, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(short, nn.BatchNorm2d(out))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ImageNetResNet(nn.Module):
    def __init__(self, groups, base, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inner = 64
        for stage, blocks in enumerate((3, 4, 6, 3)):
            out, width, row = 256 << stage, (groups * base) << stage, []
            for b in range(blocks):
                stride = 2 if stage and b == 0 else 1
                row.append(Bottleneck(inner, width, out, stride, groups, b == 0))
                inner = out
            setattr(self, f"layer{stage + 1}", nn.Sequential(*row))
        self.features = 2048

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))


class Network(nn.Module):
    """Encoder, classifier and projection head: returns logits and projections before normalisation. Without
    a `dim` there is no head, and no projections."""

    def __init__(self, arch, channels, classes, dim):
        super().__init__()
        blocks = {"resnet20": 3, "resnet32": 5, "resnet44": 7, "resnet56": 9, "resnet110": 18}
        if arch in blocks:
            self.encoder = CifarResNet(blocks[arch], channels)
        else:
            self.encoder = ImageNetResNet(*{"resnet50": (1, 64), "resnext50_32x4d": (32, 4)}[arch], channels)
        width = self.encoder.features
        self.linear = nn.Linear(width, classes)
        self.mlp = None
        if dim is not None:
            self.mlp = nn.Sequential(
                nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, dim)
            )

    def forward(self, x):
        features = self.encoder(x)
        return self.linear(features), None if self.mlp is None else self.mlp(features)
