"""One training step in PyTorch (eager), the peer of benches/train.rs: ResNet-32 at 32x32, B = 32.

Reads "METHOD channels first|last" and answers with steps per second. Threads: RESCOM_BENCH_THREADS.

ResCom's queue is written sample by sample, the usual way; everything else is batched. SGD is torch.optim's
fused-by-group ("foreach") version.
"""

import os
import sys

import torch
from torch.nn import functional as F

from models import Network
from timing import rate

B, C, D, Q, NEG, T = 32, 100, 32, 10, 400, 0.2


class ResCom:
    def __init__(self):
        self.queue = F.normalize(torch.randn(C * Q, D), dim=1)
        self.owner = torch.arange(C).repeat_interleave(Q)
        self.ptr = [0] * C
        counts = torch.tensor([500 // (c + 1) + 1 for c in range(C)], dtype=torch.float64)
        beta = 0.999999
        effective = (1 - beta**counts) / (1 - beta)
        self.weight = (effective.mean() / effective).float()

    def loss(self, raw, labels):
        z = F.normalize(raw, dim=1)
        m = len(z)
        other = ~torch.eye(m, dtype=torch.bool)
        batch = (z @ z.T)[other].view(m, m - 1)
        same = (labels[:, None] == labels[None])[other].view(m, m - 1)
        sim = z @ self.queue.T
        own = labels[:, None] == self.owner[None]
        pos = sim[own].view(m, Q).topk(1, largest=False).values
        neg = sim[~own].view(m, (C - 1) * Q).topk(NEG).values
        logits = torch.cat([batch, pos, neg], 1) / T
        positive = torch.cat([same, torch.ones_like(pos), torch.zeros_like(neg)], 1).float()
        log_p = logits - logits.logsumexp(1, keepdim=True)
        per_anchor = -(positive * log_p).sum(1) / positive.sum(1)
        return (self.weight[labels] * per_anchor).mean(), z.detach()

    def write(self, z, labels):
        for row, c in zip(z, labels.tolist()):
            self.queue[c * Q + self.ptr[c]] = row
            self.ptr[c] = (self.ptr[c] + 1) % Q


def prepare(name, channels_last):
    """A function that makes one step."""
    torch.manual_seed(0)
    views = 2 if name == "rescom" else 1
    net = Network("resnet32", 3, C, D)
    params = net.parameters()
    if name != "rescom":
        params = list(net.encoder.parameters()) + list(net.linear.parameters())
    images = torch.randn(views * B, 3, 32, 32)
    if channels_last:
        net, images = net.to(memory_format=torch.channels_last), images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(params, lr=1e-4, momentum=0.9, weight_decay=5e-4, foreach=True)
    labels = torch.arange(B) * 7 % C
    both = labels.repeat(views)
    prior = torch.tensor([500 // (c + 1) + 1 for c in range(C)], dtype=torch.float32)
    prior = (prior / prior.sum() + 1e-9).log()
    rescom = ResCom()

    def step():
        features = net.encoder(images)
        loss = F.cross_entropy(net.linear(features) + prior, both)
        z = None
        if views == 2:
            con, z = rescom.loss(net.mlp(features), both)
            loss = loss + 0.5 * con
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if z is not None:
            rescom.write(z[:B], labels)
        return loss.item()

    return step


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("RESCOM_BENCH_THREADS", "1")))
    print(f"PyTorch {torch.__version__}", flush=True)
    steps = {}
    for question in map(str.strip, sys.stdin):
        if question not in steps:
            name, order = question.split(maxsplit=1)
            steps[question] = prepare(name, order == "channels last")
        print(rate(steps[question]), flush=True)
