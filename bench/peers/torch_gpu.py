#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The steps of bench_training_cuda in PyTorch 2, each at the fastest of its variants.

usage: torch_gpu.py PEER [--steps REGEX] [--device cuda] [--seconds 2]

PEER is a folder with `nets.py` and `losses.py`: the networks and the losses in PyTorch. Prints one
line of JSON for every step: the name that bench_training_cuda has for it, the median in
milliseconds, and what was tried. Variants: eager; compiled; as a CUDA graph of the whole step
(capturable, fused Adam); du/dt in one pass with u or in one of its own; channels last.
"""
import argparse
import itertools
import json
import re
import statistics
import sys
import time

import torch

# net: how it is made, shape of a row, classes, batches
NETS = {
    "mlp_256x4": (lambda nets: nets.Mlp(2, 256, 4), (2,), 0, (1024, 4096)),
    "meanflownet": (lambda nets: nets.MeanFlowNet(), (3, 32, 32), 10, (32, 256)),
    "songunet": (lambda nets: nets.SongUNet(), (3, 32, 32), 0, (128, 256)),
}
# step: share of the rows that jump, precision
STEPS = {
    "flow_matching": (0, "float32"), "flow_matching_tf32": (0, "tf32"),
    "meanflow_25": (0.25, "float32"), "meanflow_75": (0.75, "float32"),
    "meanflow_75_tf32": (0.75, "tf32"), "meanflow_75_bfloat16": (0.75, "bfloat16"),
    "meanflow_100": (1, "float32"),
}


def cases():
    for net, (_, _, _, batches) in NETS.items():
        for batch in batches:
            for step in STEPS:
                yield f"training_step/{net}/{step}/{batch}", net, step, batch
            yield f"sampling/{net}/{batch}", net, None, batch


def use(precision):
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.backends.cudnn.benchmark = True


class Program:
    """One variant of one step: `run()` asks the device for it."""

    def __init__(self, modules, name, net, step, batch, device, variant):
        nets, self.losses = modules
        make, row, classes, _ = NETS[net]
        torch.manual_seed(0)
        jumps, self.precision = STEPS[step] if step else (0, "float32")
        use(self.precision)
        self.derivative = {"joint": self.losses.fused, "own": self.losses.split,
                           "rows": self.losses.split_rows}.get(variant["derivative"])
        self.net = make(nets).to(device)
        self.x = torch.randn(batch, *row, device=device)
        if variant["channels_last"]:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.jumps = torch.arange(batch, device=device) < round(jumps * batch)
        self.cond = {"y": torch.arange(batch, device=device) % classes} if classes else {}
        self.device = device
        if step is None:
            self.net.requires_grad_(False).eval()
            work = self.sample
        else:
            self.optimizer = torch.optim.Adam(self.net.parameters(), 1e-5, fused=device == "cuda",
                                              capturable=device == "cuda")
            work = self.flow_matching if jumps == 0 else self.mean_flow
        if "compiled" in variant["how"]:
            work = torch.compile(work)
        self.work = work
        self.run = self.once if step else self.work
        if "graph" in variant["how"]:
            self.record()

    def times(self):
        n = len(self.x)
        a, b = torch.sigmoid(torch.randn(2, n, device=self.device) - 0.4)
        t = torch.maximum(a, b)
        return torch.where(self.jumps, torch.minimum(a, b), t), t

    def autocast(self):
        return torch.autocast(self.device, torch.bfloat16, self.precision == "bfloat16")

    def flow_matching(self):
        _, t = self.times()
        eps = torch.randn_like(self.x)
        with self.autocast():
            return self.losses.flow_matching(self.net, self.x, eps, t, **self.cond).mean

    def mean_flow(self):
        r, t = self.times()
        eps = torch.randn_like(self.x)
        with self.autocast():
            return self.losses.meanflow(self.net, self.x, eps, r, t, derivative=self.derivative,
                                        **self.cond).mean

    @torch.no_grad()
    def sample(self):
        one = torch.ones(len(self.x), device=self.device)
        return self.x - self.net(self.x, torch.zeros_like(one), one, **self.cond)

    def once(self):
        self.optimizer.zero_grad(set_to_none=False)
        loss = self.work()
        loss.backward()
        self.optimizer.step()
        return loss

    def record(self):
        plain = self.run
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                plain()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            plain()
        self.run = graph.replay

    def milliseconds(self, seconds):
        wait = torch.cuda.synchronize if self.device == "cuda" else lambda: None
        for _ in range(3):
            self.run()
        wait()
        taken = []
        end = time.perf_counter() + seconds
        while len(taken) < 5 or time.perf_counter() < end:
            start = time.perf_counter()
            self.run()
            wait()
            taken.append(1e3 * (time.perf_counter() - start))
        return statistics.median(taken)


def variants(net, step, device):
    jumps = STEPS[step][0] if step else 0
    options = {
        "how": ["eager", "compiled"] + (["graph", "compiled_graph"] if device == "cuda" else []),
        # `rows` asks the device which rows jump, so that it cannot be recorded.
        "derivative": ["none"] if jumps == 0 else ["joint", "own"] + ["rows"] * (jumps < 1),
        "channels_last": [False, True] if net != "mlp_256x4" else [False],
    }
    return [dict(zip(options, values)) for values in itertools.product(*options.values())]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("peer")
    parser.add_argument("--steps", default=".")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=2)
    arguments = parser.parse_args()
    sys.path.insert(0, arguments.peer)
    import losses
    import nets

    for name, net, step, batch in cases():
        if not re.search(arguments.steps, name):
            continue
        tried = {}
        for variant in variants(net, step, arguments.device):
            label = "+".join(k if v is True else v for k, v in variant.items() if v)
            try:
                if arguments.device == "cuda":
                    torch._dynamo.reset()  # or it gives up compiling after a few variants
                    torch.cuda.empty_cache()
                program = Program((nets, losses), name, net, step, batch, arguments.device, variant)
                tried[label] = round(program.milliseconds(arguments.seconds), 3)
                del program
            except Exception as error:  # not every variant can be had everywhere
                tried[label] = (str(error).splitlines() or [type(error).__name__])[0][:80]
        times = [value for value in tried.values() if isinstance(value, float)]
        print(json.dumps({"name": name, "ms": min(times, default=None), "tried": tried}),
              flush=True)


if __name__ == "__main__":
    main()
