"""The peer of benches/augment.rs: the same pipelines and operations in Pillow and torchvision, one core.

Reads one item name per line and answers with views per second over about the seconds given as the
second argument. Random choices are Python's: the work per view is the same on average, not the bytes.
"""

import io
import random
import sys
import time

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageOps
from torchvision import transforms

torch.set_num_threads(1)
GREY, MEAN_COLOUR = (128, 128, 128), (124, 116, 104)


def affine(image, matrix, resample, fill):
    return image.transform(image.size, Image.Transform.AFFINE, matrix, resample, fillcolor=fill)


def rotate_with_grey(image, degrees):
    turned = image.convert("RGBA").rotate(degrees)
    return Image.composite(turned, Image.new("RGBA", turned.size, (128,) * 4), turned).convert(image.mode)


def sign():
    return random.choice([-1, 1])


CUBIC, LINEAR, NEAREST = Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.NEAREST
AUTO = {
    "shearX": lambda i, m: affine(i, (1, m * sign(), 0, 0, 1, 0), CUBIC, GREY),
    "shearY": lambda i, m: affine(i, (1, 0, 0, m * sign(), 1, 0), CUBIC, GREY),
    "translateX": lambda i, m: affine(i, (1, 0, m * i.size[0] * sign(), 0, 1, 0), NEAREST, GREY),
    "translateY": lambda i, m: affine(i, (1, 0, 0, 0, 1, m * i.size[1] * sign()), NEAREST, GREY),
    "rotate": rotate_with_grey,
    "color": lambda i, m: ImageEnhance.Color(i).enhance(1 + m * sign()),
    "posterize": lambda i, m: ImageOps.posterize(i, int(m)),
    "solarize": lambda i, m: ImageOps.solarize(i, m),
    "contrast": lambda i, m: ImageEnhance.Contrast(i).enhance(1 + m * sign()),
    "sharpness": lambda i, m: ImageEnhance.Sharpness(i).enhance(1 + m * sign()),
    "brightness": lambda i, m: ImageEnhance.Brightness(i).enhance(1 + m * sign()),
    "autocontrast": lambda i, m: ImageOps.autocontrast(i),
    "equalize": lambda i, m: ImageOps.equalize(i),
    "invert": lambda i, m: ImageOps.invert(i),
}
RANGES = {
    "shearX": np.linspace(0, 0.3, 10), "shearY": np.linspace(0, 0.3, 10),
    "translateX": np.linspace(0, 150 / 331, 10), "translateY": np.linspace(0, 150 / 331, 10),
    "rotate": np.linspace(0, 30, 10), "color": np.linspace(0, 0.9, 10),
    "posterize": np.round(np.linspace(8, 4, 10)), "solarize": np.linspace(256, 0, 10),
    "contrast": np.linspace(0, 0.9, 10), "sharpness": np.linspace(0, 0.9, 10),
    "brightness": np.linspace(0, 0.9, 10), "autocontrast": [0] * 10, "equalize": [0] * 10, "invert": [0] * 10,
}


class AutoAugment:
    def __init__(self, policy):
        self.policy = policy

    def __call__(self, image):
        for probability, operation, index in random.choice(self.policy):
            if random.random() < probability:
                image = AUTO[operation](image, float(RANGES[operation][index]))
        return image


def rand_operations():
    pick = lambda: random.choice((LINEAR, CUBIC))
    factor = lambda m: m / 10 * 1.8 + 0.1
    return [
        lambda i, m: ImageOps.autocontrast(i), lambda i, m: ImageOps.equalize(i), lambda i, m: ImageOps.invert(i),
        lambda i, m: i.rotate(sign() * m * 3, resample=pick(), fillcolor=MEAN_COLOUR),
        lambda i, m: ImageOps.posterize(i, max(1, int(m / 10 * 4))),
        lambda i, m: ImageOps.solarize(i, int(m / 10 * 256)),
        lambda i, m: i.point([min(255, v + int(m / 10 * 110)) if v < 128 else v for v in range(256)] * 3),
        lambda i, m: ImageEnhance.Color(i).enhance(factor(m)),
        lambda i, m: ImageEnhance.Contrast(i).enhance(factor(m)),
        lambda i, m: ImageEnhance.Brightness(i).enhance(factor(m)),
        lambda i, m: ImageEnhance.Sharpness(i).enhance(factor(m)),
        lambda i, m: affine(i, (1, sign() * m * 0.03, 0, 0, 1, 0), pick(), MEAN_COLOUR),
        lambda i, m: affine(i, (1, 0, 0, sign() * m * 0.03, 1, 0), pick(), MEAN_COLOUR),
        lambda i, m: affine(i, (1, 0, sign() * m * 0.045 * i.size[0], 0, 1, 0), pick(), MEAN_COLOUR),
        lambda i, m: affine(i, (1, 0, 0, 0, 1, sign() * m * 0.045 * i.size[1]), pick(), MEAN_COLOUR),
    ]


class RandAugment:
    operations = rand_operations()

    def __call__(self, image):
        for operation in random.choices(self.operations, k=2):
            if random.random() < 0.5:
                image = operation(image, min(10.0, max(0.0, random.gauss(10, 0.5))))
        return image


class Cutout:
    def __call__(self, tensor):
        height, width = tensor.shape[1:]
        y, x = np.random.randint(height), np.random.randint(width)
        mask = np.ones((height, width), np.float32)
        mask[np.clip(y - 8, 0, height):np.clip(y + 8, 0, height), np.clip(x - 8, 0, width):np.clip(x + 8, 0, width)] = 0
        return tensor * torch.from_numpy(mask).expand_as(tensor)


def sample(height, width):
    """A smooth picture with grain, as photographs are."""
    y, x = np.mgrid[0:height, 0:width]
    planes = [127 + 90 * np.sin(x / (17 + 5 * c) + c) * np.cos(y / (23 + 3 * c)) for c in range(3)]
    grain = np.random.default_rng(1).normal(0, 8, (height, width, 3))
    return Image.fromarray((np.stack(planes, -1) + grain).clip(0, 255).astype(np.uint8))


def parsed(text):
    """AutoAugment's policy as the bench writes it: sub-policies of two steps."""
    flat = [line.split() for line in text.split(";")]
    return [((float(a), b, int(c)), (float(d), e, int(f))) for a, b, c, d, e, f in flat]


def versions():
    import PIL
    import torchvision
    return f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}, torch {torch.__version__}"


def pipelines(policy):
    """The two training pipelines, the evaluation of large images, and the constants."""
    to_cifar = transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    to_imagenet = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    cifar = transforms.Compose([
        transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), AutoAugment(policy),
        transforms.ToTensor(), Cutout(), to_cifar,
    ])
    imagenet = transforms.Compose([
        transforms.RandomResizedCrop(224, scale=(0.08, 1.0)), transforms.RandomHorizontalFlip(),
        transforms.ColorJitter(0.4, 0.4, 0.4, 0), transforms.RandomGrayscale(p=0.2), RandAugment(),
        transforms.ToTensor(), to_imagenet,
    ])
    evaluation = transforms.Compose([
        transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), to_imagenet,
    ])
    return cifar, imagenet, evaluation, to_cifar, to_imagenet


def items(policy, file):
    small, large, view = sample(32, 32), sample(375, 500), sample(224, 224)
    jpeg = open(file, "rb").read()
    cifar, imagenet, evaluation, to_cifar, to_imagenet = pipelines(policy)
    crop = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()])
    normal = transforms.Compose([transforms.ToTensor(), to_cifar])
    normal_large = transforms.Compose([transforms.ToTensor(), to_imagenet])
    jitter, grey = transforms.ColorJitter(0.4, 0.4, 0.4, 0), transforms.Grayscale(3)
    tensor, cutout, shift = transforms.ToTensor()(small), Cutout(), 0.29 * 224
    decode = lambda: Image.open(io.BytesIO(jpeg)).convert("RGB")
    table = {
        "cifar pipeline": lambda: cifar(small),
        "imagenet pipeline": lambda: imagenet(large),
        "imagenet pipeline with decode": lambda: imagenet(decode()),
        "imagenet evaluation": lambda: evaluation(large),
        "jpeg decode 500x375": decode,
        "32: crop + flip": lambda: crop(small),
        "32: cutout": lambda: cutout(tensor),
        "32: normalise": lambda: normal(small),
        "224: resized crop": lambda: large.crop((60, 40, 410, 320)).resize((224, 224), LINEAR),
        "224: normalise": lambda: normal_large(view),
        "224: rotate bilinear": lambda: view.rotate(29, resample=LINEAR, fillcolor=MEAN_COLOUR),
        "224: rotate bicubic": lambda: view.rotate(29, resample=CUBIC, fillcolor=MEAN_COLOUR),
        "224: shearX bicubic": lambda: affine(view, (1, 0.29, 0, 0, 1, 0), CUBIC, MEAN_COLOUR),
        "224: brightness": lambda: ImageEnhance.Brightness(view).enhance(1.3),
        "224: contrast": lambda: ImageEnhance.Contrast(view).enhance(1.3),
        "224: colour": lambda: ImageEnhance.Color(view).enhance(1.3),
        "224: sharpness": lambda: ImageEnhance.Sharpness(view).enhance(1.9),
        "224: equalize": lambda: ImageOps.equalize(view),
        "224: flip": lambda: view.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        "224: jitter": lambda: jitter(view),
        "224: grayscale": lambda: grey(view),
        "224: solarize": lambda: ImageOps.solarize(view, 102),
        "224: posterize": lambda: ImageOps.posterize(view, 3),
        "224: invert": lambda: ImageOps.invert(view),
        "224: autocontrast": lambda: ImageOps.autocontrast(view),
        "224: translateX bilinear": lambda: affine(view, (1, 0, shift, 0, 1, 0), LINEAR, MEAN_COLOUR),
        "224: translateX bicubic": lambda: affine(view, (1, 0, shift, 0, 1, 0), CUBIC, MEAN_COLOUR),
        "224: translateY bicubic": lambda: affine(view, (1, 0, 0, 0, 1, shift), CUBIC, MEAN_COLOUR),
    }
    for name in AUTO:
        magnitude = float(RANGES[name][7])
        table[f"32: {name}"] = lambda name=name, m=magnitude: AUTO[name](small, m)
    return table


def rate(work, seconds):
    for _ in range(3):
        work()
    start, count, size = time.thread_time(), 0, 1
    while time.thread_time() - start < seconds:
        for _ in range(size):
            work()
        count += size
        size = max(1, int(count / max(time.thread_time() - start, seconds / 1000) * seconds / 20))
    return count / (time.thread_time() - start)


if __name__ == "__main__":
    table = items(parsed(sys.argv[1]), sys.argv[3])
    seconds = float(sys.argv[2])
    print(versions(), flush=True)
    for line in sys.stdin:
        work = table.get(line.strip())
        print(rate(work, seconds) if work else "nan", flush=True)
