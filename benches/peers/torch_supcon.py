"""Peer of benches/gradient_kernel.rs: the same loss with PyTorch, gradient by autograd, float32, in two
ways. Reads "WAY ANCHORS KEYS" and answers with calls per second.

`mask` is the loss as it is written down; `means` uses what ours uses, that the pull of all positives of an
anchor is the mean of the keys of its class.
"""
import sys

import torch

from timing import rate


def mask(anchors, anchor_labels, keys, key_labels, t):
    positive = anchor_labels[:, None] == key_labels[None, :]
    log_pi = torch.log_softmax(anchors @ keys.T / t, dim=1)
    return -((log_pi * positive).sum(1) / positive.sum(1)).mean()


def means(anchors, anchor_labels, keys, key_labels, t):
    """The same without a mask: every class of an anchor has a key."""
    classes = int(key_labels.max()) + 1
    sums = torch.zeros(classes, keys.shape[1]).index_add_(0, key_labels, keys)
    positive = (sums / torch.bincount(key_labels)[:, None])[anchor_labels]
    scaled = anchors / t
    return (torch.logsumexp(scaled @ keys.T, dim=1) - (scaled * positive).sum(1)).mean()


def features(rows):
    f = torch.nn.functional.normalize(torch.randn(rows, 128))
    return f, torch.arange(rows) * 7919 % 100


def main():
    print(f"PyTorch {torch.__version__}", flush=True)
    torch.manual_seed(0)
    for line in sys.stdin:
        way, m, n = line.split()
        (anchors, la), (keys, lk) = features(int(m)), features(int(n))
        anchors.requires_grad_()
        ways = {"mask": mask, "means": means}

        def gradient(f):
            anchors.grad = None
            f(anchors, la, keys, lk, 0.1).backward()
            return anchors.grad

        one, other = (gradient(f) for f in ways.values())
        assert (one - other).abs().max() < 1e-5 * one.abs().max()
        print(rate(lambda: gradient(ways[way])), flush=True)


if __name__ == "__main__":
    main()
