"""The peer of benches/loader.rs: PyTorch's DataLoader over the same images and operations.

Reads lines "cifar 2" (pipeline, worker processes) and answers with views per second over one epoch.
Workers stay alive from epoch to epoch, and their start is not counted.
"""

import sys
import time

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from augment import parsed, pipelines, sample, versions


class TwoViews(Dataset):
    def __init__(self, count, image, transform):
        self.count, self.image, self.transform = count, image, transform

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        image = self.image()
        return self.transform(image), self.transform(image), 0


def loaders(policy, file, batch):
    cifar, imagenet, *_ = pipelines(policy)
    pixels = np.asarray(sample(32, 32))
    sets = {
        "cifar": TwoViews(16 * batch, lambda: Image.fromarray(pixels), cifar),
        "imagenet": TwoViews(4 * batch, lambda: Image.open(file).convert("RGB"), imagenet),
    }
    made = {}

    def get(name, workers):
        if (name, workers) not in made:
            options = {"num_workers": workers, "persistent_workers": True, "prefetch_factor": 2}
            made[name, workers] = DataLoader(sets[name], batch, shuffle=True, drop_last=True, **options)
            for _ in made[name, workers]:
                pass
        return made[name, workers]

    return get


if __name__ == "__main__":
    torch.set_num_threads(1)
    get = loaders(parsed(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    print(versions(), flush=True)
    for line in sys.stdin:
        name, workers = line.split()
        loader = get(name, int(workers))
        start, views = time.perf_counter(), 0
        for first, second, _ in loader:
            views += len(first) + len(second)
        print(views / (time.perf_counter() - start), flush=True)
