"""An exported backbone in torchvision's Faster R-CNN: export_detection.py BACKBONE.pth.

Loads it with strict=True into the detector's body, and takes eight steps on drawn squares: that the detector learns
shows that the backbone is wired in, not how good it is.
"""
import sys

import torch
import torchvision
from torchvision.models.detection import fasterrcnn_resnet50_fpn

STEPS, SIDE = 8, 96


def squares(generator):
    """Two grey pictures with a bright square each, and where it is."""
    images, targets = [], []
    for _ in range(2):
        size, x, y = (int(torch.randint(low, high, (1,), generator=generator)) for low, high in ((30, 50), (2, 44), (2, 44)))
        image = torch.rand(3, SIDE, SIDE, generator=generator) * 0.2 + 0.3
        image[:, y : y + size, x : x + size] = torch.tensor([0.9, 0.2, 0.1]).view(3, 1, 1)
        images.append(image)
        targets.append({"boxes": torch.tensor([[x, y, x + size, y + size]], dtype=torch.float32), "labels": torch.tensor([1])})
    return images, targets


def main():
    torch.manual_seed(0)
    weights = torch.load(sys.argv[1], map_location="cpu")
    detector = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2, trainable_backbone_layers=5,
                                       min_size=SIDE, max_size=SIDE, rpn_pre_nms_top_n_train=100,
                                       rpn_post_nms_top_n_train=50, rpn_batch_size_per_image=64, box_batch_size_per_image=32)
    detector.backbone.body.load_state_dict(weights, strict=True)
    optimizer = torch.optim.SGD(detector.parameters(), lr=0.005, momentum=0.9)
    generator, losses = torch.Generator().manual_seed(1), []
    detector.train()
    for _ in range(STEPS):
        loss = sum(detector(*squares(generator)).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert all(value == value for value in losses) and min(losses[-2:]) < 0.6 * losses[0], losses
    print(f"torchvision {torchvision.__version__} Faster R-CNN: {len(weights)} tensors, strict; "
          f"loss of {STEPS} steps on drawn squares: " + " ".join(f"{value:.2f}" for value in losses))


main()
