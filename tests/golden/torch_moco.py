# SPDX-License-Identifier: MIT
"""The training steps of MoCo, SimCLR and the end-to-end mechanism in plain PyTorch, written from the papers and the reference
implementation, apart from libmoco: what the golden tests hold libmoco against.

Works in any dtype. BN groups are always contiguous slices of the order in which a network sees its samples, so ShuffleBN,
interleaved groups and other summation orders are all just orders: encode(net, images, order). Also here, because C and
Python must agree on them to the last bit: the rules for initial weights and images (tests/support/files/golden_rule.h).
"""
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from moco_random import shuffle_permutation


# ---- rules shared with tests/support/files/golden_rule.c ----------------------------------------------------------------------

MASK = (1 << 64) - 1


def mix(x):
    """The finaliser of splitmix64, on uint64 arrays."""
    x = np.asarray(x, np.uint64)
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def name_hash(text):
    """FNV-1a, 64 bits."""
    h = 0xCBF29CE484222325
    for byte in text.encode():
        h = (h ^ byte) * 0x100000001B3 & MASK
    return h


def rule_unit(name, count):
    """`count` numbers in [-1, 1), multiples of 2^-23, addressed by a name."""
    with np.errstate(over="ignore"):
        h = mix(np.uint64(name_hash(name)) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    return (h >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1.0


def rule_state(case, name, shape):
    """Initial value of the state tensor `name` of a case, from rule_unit("case/name"), as float32 numbers in a float64 array. By the end of the name:
    num_batches_tracked 0; running_mean u / 4; running_var 1 + u / 2; momentum.* u / 64; BN weight 1 + u / 4, of bn2 and bn3 a
    quarter of that (the residual branches then weigh less, which keeps float32's errors small), BN bias u / 4; convolution u * sqrt(6 / (co kh kw)); linear
    weight u / sqrt(fan_in), bias u / 4."""
    count = int(np.prod(shape)) if len(shape) else 1
    u = rule_unit(case + "/" + name, count)
    if name.endswith("num_batches_tracked"):
        v = np.zeros(count)
    elif name.startswith("momentum."):
        v = u / 64
    elif name.endswith("running_mean"):
        v = u / 4
    elif name.endswith("running_var"):
        v = 1 + u / 2
    elif len(shape) == 4:
        v = u * math.sqrt(6.0 / (shape[0] * shape[2] * shape[3]))
    elif len(shape) == 2:
        v = u / math.sqrt(float(shape[1]))
    elif name.endswith(("bn2.weight", "bn3.weight")):
        v = 0.25 + u / 16
    elif name.endswith("weight"):
        v = 1 + u / 4
    else:
        v = u / 4
    return v.astype(np.float32).astype(np.float64).reshape(shape)


def rule_queue(case, length, dim):
    """[length, dim]: rows of rule_unit("case/queue") divided by their length (squares summed in order), then rounded to float32."""
    rows = rule_unit(case + "/queue", length * dim).reshape(length, dim)
    for row in rows:
        total = 0.0
        for x in row:
            total += float(x) * float(x)
        row /= math.sqrt(total)
    return rows.astype(np.float32).astype(np.float64)


def rule_images(seed, step, view, n, h, w):
    """uint8 [n, h, w, 3]: a ramp in a direction and colour that belong to the sample, a phase that belongs to the view, and
    noise of 0..63."""
    with np.errstate(over="ignore"):
        sample = mix(np.uint64(seed) * np.uint64(1000003) + np.uint64(step) * np.uint64(4099) + np.arange(n, dtype=np.uint64))
        phase = mix(sample + np.uint64(1 + view)) & np.uint64(63)
        i, y, x, c = np.ogrid[:n, :h, :w, :3]
        s = sample[:, None, None, None]
        part = lambda shift, mask: (s >> np.uint64(shift)) & np.uint64(mask)
        index = ((i * h + y) * w + x) * 3 + c
        noise = mix(index.astype(np.uint64) + (s ^ np.uint64(0x5555 << view))) & np.uint64(63)
        ramp = (x.astype(np.uint64) * part(0, 15) + y.astype(np.uint64) * part(8, 15) + c.astype(np.uint64) * part(16, 127)
                + part(24, 255) + phase[:, None, None, None])
    return ((ramp & np.uint64(255)) * np.uint64(3) // np.uint64(4) + noise).astype(np.uint8)


# ---- networks -----------------------------------------------------------------------------------------------------------

def to_bf16(x):
    """To the nearest bf16; with to_bf16.draw set (a torch.Generator) up or down at random, an independent draw of the
    rounding errors."""
    if to_bf16.draw is None:
        return x.to(torch.bfloat16).to(x.dtype)
    unit = torch.ldexp(torch.ones_like(x), torch.frexp(x)[1] - 8)
    return torch.floor(x / unit + torch.rand(x.shape, generator=to_bf16.draw, dtype=x.dtype)) * unit


to_bf16.draw = None


class RoundBf16(torch.autograd.Function):
    """Where a bf16 backend stores an activation, or the gradient of one, in bf16."""

    @staticmethod
    def forward(ctx, x):
        return to_bf16(x)

    @staticmethod
    def backward(ctx, g):
        return to_bf16(g)


class ReadBf16(torch.autograd.Function):
    """A weight that is read in bf16; its gradient is not rounded."""

    @staticmethod
    def forward(ctx, x):
        return x.to(torch.bfloat16).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        return g


class Conv(nn.Conv2d):
    rounding = False

    def forward(self, x):
        w = ReadBf16.apply(self.weight) if self.rounding else self.weight
        x = F.conv2d(x, w, None, self.stride, self.padding)
        return RoundBf16.apply(x) if self.rounding else x


class Linear(nn.Linear):
    rounding = False

    def forward(self, x):
        return F.linear(x, ReadBf16.apply(self.weight) if self.rounding else self.weight, self.bias)


class GroupBN(nn.BatchNorm2d):
    """BN over each contiguous group of `n / groups` samples; running statistics move by the mean over the groups."""
    groups = 1

    def forward(self, x):
        if not self.training:
            return super().forward(x)
        size = x.shape[0] // self.groups
        out, means, variances = [], [], []
        for part in x.split(size):
            mean, variance = self.running_mean.clone(), self.running_var.clone()
            out.append(F.batch_norm(part, mean, variance, self.weight, self.bias, True, self.momentum, self.eps))
            means.append(mean)
            variances.append(variance)
        self.running_mean.copy_(torch.stack(means).mean(0))
        self.running_var.copy_(torch.stack(variances).mean(0))
        self.num_batches_tracked += 1
        return torch.cat(out)


class VectorBN(GroupBN):
    """The same over vectors; without a bias if told so."""

    def __init__(self, channels, bias=True):
        super().__init__(channels)
        if not bias:
            self.bias = None


class Store(nn.Module):
    """A point at which an activation goes to memory."""
    rounding = False

    def forward(self, x):
        return RoundBf16.apply(x) if self.rounding else x


class Basic(nn.Module):
    expansion = 1

    def __init__(self, i, c, stride, norm):
        super().__init__()
        self.conv1, self.bn1 = Conv(i, c, 3, stride, 1, bias=False), norm(c)
        self.conv2, self.bn2 = Conv(c, c, 3, 1, 1, bias=False), norm(c)
        self.downsample = None
        if stride != 1 or i != c:
            self.downsample = nn.Sequential(Conv(i, c, 1, stride, bias=False), norm(c))
        self.store = Store()

    def forward(self, x):
        y = self.store(F.relu(self.bn1(self.conv1(x))))
        y = self.bn2(self.conv2(y))
        short = x if self.downsample is None else self.store(self.downsample(x))
        return self.store(F.relu(y + short))


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, i, c, stride, norm):
        super().__init__()
        self.conv1, self.bn1 = Conv(i, c, 1, bias=False), norm(c)
        self.conv2, self.bn2 = Conv(c, c, 3, stride, 1, bias=False), norm(c)
        self.conv3, self.bn3 = Conv(c, 4 * c, 1, bias=False), norm(4 * c)
        self.downsample = None
        if stride != 1 or i != 4 * c:
            self.downsample = nn.Sequential(Conv(i, 4 * c, 1, stride, bias=False), norm(4 * c))
        self.store = Store()

    def forward(self, x):
        y = self.store(F.relu(self.bn1(self.conv1(x))))
        y = self.store(F.relu(self.bn2(self.conv2(y))))
        y = self.bn3(self.conv3(y))
        short = x if self.downsample is None else self.store(self.downsample(x))
        return self.store(F.relu(y + short))


BLOCKS = {"resnet18": (Basic, [2, 2, 2, 2]), "resnet34": (Basic, [3, 4, 6, 3]), "resnet50": (Bottleneck, [3, 4, 6, 3])}
STEMS = {"imagenet": (7, 2, 3, True), "cifar": (3, 1, 1, False), "small": (3, 2, 1, False)}


class Encoder(nn.Module):
    """ResNet v1.5 and a head, with torchvision's names."""

    def __init__(self, arch, stem, head, dim, width, norm=GroupBN):
        super().__init__()
        block, counts = BLOCKS[arch]
        kernel, stride, pad, self.pool = STEMS[stem]
        channels = round(64 * width)
        self.conv1, self.bn1 = Conv(3, channels, kernel, stride, pad, bias=False), norm(channels)
        self.store = Store()
        i = channels
        for stage, count in enumerate(counts):
            c = channels << stage
            blocks = []
            for b in range(count):
                blocks.append(block(i, c, 2 if stage and b == 0 else 1, norm))
                i = c * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        if head == "linear":
            self.fc = Linear(i, dim)
        elif head == "mlp":
            self.fc = nn.Sequential(Linear(i, i), nn.ReLU(), Linear(i, dim))
        else:
            hidden = lambda: [Linear(i, i, bias=False), VectorBN(i), nn.ReLU()]
            layers = hidden() if head == "simclr-v1" else hidden() + hidden()
            self.fc = nn.Sequential(*layers, Linear(i, dim, bias=False), VectorBN(dim, bias=False))

    def forward(self, x):
        x = self.store(F.relu(self.bn1(self.conv1(self.store(x)))))
        if self.pool:
            x = F.max_pool2d(x, 3, 2, 1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        x = self.store(x.mean((2, 3)))
        if not isinstance(self.fc, nn.Sequential):
            return self.fc(x)
        for layer in self.fc:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                x = self.store(x)
        return x


def set_rounding(net, on):
    for m in net.modules():
        if hasattr(m, "rounding"):
            m.rounding = on


def load(net, prefix, values):
    """Fills the network's state from values(name, shape) (numpy)."""
    with torch.no_grad():
        for name, t in net.state_dict().items():
            t.copy_(torch.from_numpy(np.asarray(values(prefix + name, tuple(t.shape)))))


# ---- the step -----------------------------------------------------------------------------------------------------------

def to_input(images, mean, std, dtype):
    x = torch.from_numpy(images).to(dtype).permute(0, 3, 1, 2).contiguous() / 255
    shape = (1, 3, 1, 1)
    return (x - torch.tensor(mean, dtype=dtype).view(shape)) / torch.tensor(std, dtype=dtype).view(shape)


class Lars:
    """google-research/simclr's: the rate inside the buffer; BN and biases (whatever has one dimension, here) neither
    decayed nor scaled."""

    def __init__(self, parameters, momentum, weight_decay, trust):
        self.parameters, self.momentum, self.decay, self.trust = list(parameters), momentum, weight_decay, trust
        self.param_groups = [dict(lr=1.0)]
        self.state = {p: dict(momentum_buffer=torch.zeros_like(p)) for p in self.parameters}

    def zero_grad(self):
        for p in self.parameters:
            p.grad = None

    @torch.no_grad()
    def step(self):
        for p in self.parameters:
            g, rate = p.grad, self.param_groups[0]["lr"]
            if p.dim() > 1:
                g = g + self.decay * p
                w_norm, g_norm = p.norm(), g.norm()
                if w_norm > 0 and g_norm > 0:
                    rate = rate * self.trust * w_norm / g_norm
            v = self.state[p]["momentum_buffer"]
            v.mul_(self.momentum).add_(rate * g)
            p.sub_(v)


class Trainer:
    """MoCo by algorithm 1 of the paper, in the order of the reference. `within(group_order)` may permute the samples inside a BN
    group, which changes nothing but the order of sums."""

    def __init__(self, config, q, k, queue, ptr, momentum_buffers=None, within=None):
        self.c, self.q, self.k = config, q, k
        self.queue, self.ptr = queue, ptr
        self.within = within or (lambda group: group)
        if config.get("optimizer") == "lars":
            self.optimizer = Lars(q.parameters(), config["sgd_momentum"], config["weight_decay"], config["trust"])
        else:
            self.optimizer = torch.optim.SGD(q.parameters(), lr=1.0, momentum=config["sgd_momentum"],
                                             weight_decay=config["weight_decay"])
        if momentum_buffers:
            for name, p in q.named_parameters():
                self.optimizer.state[p]["momentum_buffer"] = momentum_buffers(name, tuple(p.shape)).to(p.dtype)
        for p in k.parameters() if k else []:
            p.requires_grad_(False)

    def groups(self):
        return self.c["batch_size"] // self.c["bn_group_size"]

    def encode(self, net, x, order):
        for m in net.modules():
            if isinstance(m, GroupBN):
                m.groups = self.groups()
        size = self.c["bn_group_size"]
        order = [i for g in range(self.groups()) for i in self.within(order[g * size:(g + 1) * size])]
        order = torch.tensor(order)
        return F.normalize(net(x[order]), dim=1)[order.argsort()]

    def direction(self, step, number, x_q, x_k, measured):
        """Queries of x_q against keys of x_k and the queue: loss, queries, keys. The key encoder sees sample place[p] at
        place p; a BN group holds the same places as it holds samples of the query encoder."""
        n, groups = self.c["batch_size"], self.groups()
        own = [i for g in range(groups) for i in range(g, n, groups)] if self.c["interleave"] else list(range(n))
        q = self.encode(self.q, x_q, own)
        with torch.no_grad():
            place = shuffle_permutation(self.c["seed"], step, number, n) if self.c["shuffle"] else range(n)
            k = self.encode(self.k, x_k, [place[p] for p in own])
        if self.queue is None:
            loss = self.against(q, k, range(n), measured)
        else:
            l_pos, l_neg = (q * k).sum(1, keepdim=True), q @ self.queue.T
            logits = torch.cat([l_pos, l_neg], 1) / self.c["temperature"]
            loss = F.cross_entropy(logits, torch.zeros(n, dtype=torch.long))
            self.measure(l_pos, l_neg, measured)
        return loss, q.detach(), k

    @staticmethod
    def measure(l_pos, l_neg, measured):
        with torch.no_grad():
            rank = (l_neg > l_pos).sum(1)
            measured["acc1"] += 100 * (rank < 1).double().mean().item()
            measured["acc5"] += 100 * (rank < 5).double().mean().item()
            measured["pos_cosine"] += l_pos.mean().item()
            measured["neg_cosine"] += l_neg.mean().item()
            measured["margin"] = min(measured["margin"], (l_neg - l_pos).abs().min().item())

    def against(self, q, candidates, own, measured, absent=None):
        """Mean cross-entropy of queries against candidates; own[i] is the positive of query i, `absent` adds -1e9 where a
        candidate is the query itself, as google-research/simclr does."""
        similar = q @ candidates.T
        logits = similar if absent is None else similar - 1e9 * absent
        own = torch.tensor(list(own))
        with torch.no_grad():
            rows = torch.arange(len(own))
            others = torch.ones_like(similar, dtype=torch.bool)
            others[rows, own] = False
            if absent is not None:
                others &= absent == 0
            l_neg = similar[others].view(len(own), -1)
        self.measure(similar[rows, own].detach().unsqueeze(1), l_neg, measured)
        return F.cross_entropy(logits / self.c["temperature"], own)

    def step(self, number, images, lr):
        """images: two uint8 arrays [n, h, w, 3]. Returns what was measured; gradients stay in q."""
        dtype = next(self.q.parameters()).dtype
        x = [to_input(v, self.c["mean"], self.c["std"], dtype) for v in images]
        if self.c.get("channels_last"):
            x = [v.to(memory_format=torch.channels_last) for v in x]
        with torch.no_grad():
            m = self.c["key_momentum"]
            for pk, pq in zip(self.k.parameters(), self.q.parameters()):
                pk.copy_(m * pk + (1 - m) * pq)
        measured = dict.fromkeys(["acc1", "acc5", "pos_cosine", "neg_cosine"], 0.0) | {"margin": 2.0}
        pairs = [(x[0], x[1])] + ([(x[1], x[0])] if self.c["symmetric"] else [])
        loss, queries, keys = 0.0, [], []
        for d, (x_q, x_k) in enumerate(pairs):
            part, q, k = self.direction(number, d, x_q, x_k, measured)
            loss = loss + part
            queries.append(q)
            keys.append(k)
        self.optimizer.zero_grad()
        loss.backward()
        for name in ("acc1", "acc5", "pos_cosine", "neg_cosine"):
            measured[name] /= len(pairs)
        measured["feature_std"] = torch.cat(queries).std(0, unbiased=False).mean().item()
        measured["loss"] = loss.item()
        measured["grad_norm"] = math.sqrt(sum(p.grad.double().pow(2).sum().item() for p in self.q.parameters()))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        for row in torch.cat(keys[::-1]) if self.queue is not None else []:  # the keys of view 0 come first, as in the notebook
            self.queue[self.ptr] = row
            self.ptr = (self.ptr + 1) % len(self.queue)
        return measured

    def state(self):
        """Every tensor under libmoco's names, numpy float64."""
        out = {}
        for prefix, net in (("encoder_q.", self.q), ("encoder_k.", self.k)):
            for name, t in net.state_dict().items() if net else []:
                out[prefix + name] = t
        for name, p in self.q.named_parameters():
            out["momentum.encoder_q." + name] = self.optimizer.state[p]["momentum_buffer"]
        if self.queue is not None:
            out["queue"] = self.queue.T
            out["queue_ptr"] = torch.tensor([self.ptr])
        return {name: t.detach().contiguous().double().numpy().copy() for name, t in out.items()}

    def gradients(self):
        return {"grad.encoder_q." + name: p.grad.detach().contiguous().double().numpy().copy()
                for name, p in self.q.named_parameters()}


class PairTrainer(Trainer):
    """SimCLR and the end-to-end mechanism: both views through one encoder in one forward, view 0 first, BN over groups of
    that; gradients to both."""

    def groups(self):
        return 2 * self.c["batch_size"] // self.c["bn_group_size"]

    def step(self, number, images, lr):
        n, measured = self.c["batch_size"], dict.fromkeys(["acc1", "acc5", "pos_cosine", "neg_cosine"], 0.0) | {"margin": 2.0}
        dtype = next(self.q.parameters()).dtype
        x = torch.cat([to_input(v, self.c["mean"], self.c["std"], dtype) for v in images])
        if self.c.get("channels_last"):
            x = x.to(memory_format=torch.channels_last)
        parts = max(1, self.groups() // 2)  # of one view
        own = [i for g in range(parts) for i in range(g, n, parts)] if self.c["interleave"] else list(range(n))
        place = shuffle_permutation(self.c["seed"], number, 0, n) if self.c["shuffle"] else range(n)
        z = self.encode(self.q, x, own + [n + place[p] for p in own])
        a, b = z[:n], z[n:]
        if self.c["loss"] == "infonce":
            loss, directions = self.against(a, b, range(n), measured), 1
        else:  # loss_a + loss_b
            itself = torch.cat([torch.zeros(n, n), torch.eye(n)], 1).to(dtype)
            loss = (self.against(a, torch.cat([b, a]), range(n), measured, itself)
                    + self.against(b, torch.cat([a, b]), range(n), measured, itself))
            directions = 2
        self.optimizer.zero_grad()
        loss.backward()
        for name in ("acc1", "acc5", "pos_cosine", "neg_cosine"):
            measured[name] /= directions
        measured["feature_std"] = z.detach().std(0, unbiased=False).mean().item()
        measured["loss"] = loss.item()
        measured["grad_norm"] = math.sqrt(sum(p.grad.double().pow(2).sum().item() for p in self.q.parameters()))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        return measured
