#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The reference's pipeline (ImageFolder, Pillow, torchvision) measured as build/bench/loader measures ours.

usage: pil_loader.py [--workers N] [--preset moco-v2|moco-v1|cifar10|simclr] [--seconds S] DIR
Prints one JSON object with the same keys. Tensors are left out: views stay PIL images, as ours stay bytes.
"""
import argparse
import json
import os
import random
import time

import torch
from PIL import Image, ImageFilter
from torchvision import transforms


class Blur:
    """GaussianBlur of the reference's moco/loader.py: sigma uniform in 0.1..2."""

    def __call__(self, image):
        return image.filter(ImageFilter.GaussianBlur(radius=random.uniform(0.1, 2.0)))


def recipe(preset):
    t = transforms
    if preset == "cifar10":
        return t.Compose([t.RandomResizedCrop(32), t.RandomHorizontalFlip(0.5),
                          t.RandomApply([t.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8), t.RandomGrayscale(p=0.2)])
    if preset == "simclr":
        return t.Compose([t.RandomResizedCrop(224, interpolation=t.InterpolationMode.BICUBIC),
                          t.RandomApply([t.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8), t.RandomGrayscale(p=0.2),
                          t.RandomApply([Blur()], p=0.5), t.RandomHorizontalFlip()])
    crop = t.RandomResizedCrop(224, scale=(0.2, 1.0))
    if preset == "moco-v1":
        return t.Compose([crop, t.RandomGrayscale(p=0.2), t.ColorJitter(0.4, 0.4, 0.4, 0.4), t.RandomHorizontalFlip()])
    return t.Compose([crop, t.RandomApply([t.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8), t.RandomGrayscale(p=0.2),
                      t.RandomApply([Blur()], p=0.5), t.RandomHorizontalFlip()])


class TwoViews(torch.utils.data.Dataset):
    def __init__(self, files, preset):
        self.files, self.recipe = files, recipe(preset)

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        image = Image.open(self.files[i]).convert("RGB")
        return self.recipe(image).tobytes(), self.recipe(image).tobytes()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--preset", default="moco-v2")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("folder")
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(os.path.join(root, name) for root, _, names in os.walk(args.folder, followlinks=True) for name in names
                   if name.lower().endswith((".jpg", ".jpeg", ".png")))
    views = recipe(args.preset)
    decoding = viewing = 0.0
    begun, done = time.perf_counter(), 0
    while time.perf_counter() - begun < args.seconds / 2:
        at = time.perf_counter()
        image = Image.open(files[done % len(files)]).convert("RGB")
        decoded = time.perf_counter()
        views(image), views(image)
        decoding, viewing, done = decoding + decoded - at, viewing + time.perf_counter() - decoded, done + 1
    loader = torch.utils.data.DataLoader(TwoViews(files, args.preset), batch_size=32, shuffle=True, num_workers=args.workers,
                                         collate_fn=list, drop_last=False)
    images, begun = 0, None
    while begun is None or time.perf_counter() - begun < args.seconds:
        for batch in loader:
            if begun is None:
                begun = time.perf_counter()
            else:
                images += len(batch)
            if time.perf_counter() - begun >= args.seconds:
                break
    rate = images / (time.perf_counter() - begun)
    print(json.dumps(dict(bench="loader", preset=args.preset, workers=args.workers, img_per_s=round(rate, 1),
                          img_per_s_per_core=round(rate / max(1, args.workers), 1), decode_ms=round(1e3 * decoding / done, 3),
                          view_ms=round(1e3 * viewing / done, 3), bytes_per_image=None, images=len(files),
                          pillow=Image.__version__)))


if __name__ == "__main__":
    main()
