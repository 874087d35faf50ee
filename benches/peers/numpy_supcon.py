"""Peer of benches/gradient_kernel.rs: the same loss and gradient with NumPy, float32.

    python3 benches/peers/numpy_supcon.py
"""
import time

import numpy as np


def supcon(anchors, anchor_labels, keys, key_labels, t):
    """Loss, dL/ds [M, N] and dL/d anchors [M, D]; in place where NumPy allows it."""
    sims = anchors @ keys.T
    positive = anchor_labels[:, None] == key_labels[None, :]
    count = positive.sum(axis=1, dtype=np.float32)
    logits = sims
    logits *= np.float32(1 / t)
    largest = logits.max(axis=1, keepdims=True)
    pulled = np.einsum("ij,ij->i", logits, positive, dtype=np.float32) / count
    logits -= largest
    np.exp(logits, out=logits)
    total = logits.sum(axis=1, keepdims=True)
    loss = float(np.mean(largest[:, 0] + np.log(total[:, 0]) - pulled))
    unit = np.float32(1 / (t * len(anchors)))
    logits *= unit / total
    logits -= positive * (unit / count)[:, None]
    return loss, logits, logits @ keys


def features(rows, rng):
    f = rng.standard_normal((rows, 128), dtype=np.float32)
    return f / np.linalg.norm(f, axis=1, keepdims=True), np.arange(rows) * 7919 % 100


def main():
    rng = np.random.default_rng(0)
    for m, n in [(256, 4096), (1024, 4096), (4096, 16384)]:
        anchors, la = features(m, rng)
        keys, lk = features(n, rng)
        times = []
        for _ in range(12):
            start = time.perf_counter()
            supcon(anchors, la, keys, lk, 0.1)
            times.append(time.perf_counter() - start)
        print(f"numpy {np.__version__} {m}x{n}: median {1e3 * np.median(times[2:]):.2f} ms")


if __name__ == "__main__":
    main()
