#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The steps of bench_training_cuda, or of bench_training, in PyTorch, each in its fastest forms.

usage: torch_gpu.py PEER [--steps REGEX] [--forms eager|compiled] [--device cuda] [--seconds 1] [--small]

PEER is a folder with `nets.py` and `losses.py`: the networks and the losses in PyTorch. Steps come in
order of importance. Prints a line of JSON for every form of a step as soon as it is timed:
the name that bench_training_cuda has for the step, the form, and the median in milliseconds, or why
there is none.

Forms: how the work is asked for, "compiled", as a CUDA graph of the whole step ("graph", which
includes optimizer and averages), or "eager"; and how du/dt is made, for all rows in one pass with u
("joint"), or so for the first K rows alone, the others being a second batch ("slice"). Images have
their channels last. A form whose gradient is not that of the eager, joint one is refused.
"""
import argparse
import gc
import json
import re
import statistics
import sys
import time

import torch

# net: how it is built, the same small, shape of a row, classes, batches
NETS = {
    "mlp_256x4": (lambda n: n.Mlp(2, 256, 4), lambda n: n.Mlp(2, 16, 2), (2,), 0, (1024, 4096)),
    "meanflownet": (lambda n: n.MeanFlowNet(),
                    lambda n: n.MeanFlowNet(ch=8, mult=(1, 2), blocks=1), (3, 32, 32), 10, (256,)),
    "songunet": (lambda n: n.SongUNet(),
                 lambda n: n.SongUNet(model_channels=8, channel_mult=(1, 2), num_blocks=1),
                 (3, 32, 32), 0, (128,)),
    "dit_b4": (lambda n: n.DiT(), lambda n: n.DiT(hidden_size=32, depth=1, num_heads=2),
               (4, 32, 32), 1000, (128,)),
}
# Share of the rows that jump, None for sampling; precision.
STEPS = {
    "training_step/{}/meanflow_25": (0.25, "float32"),
    "training_step/{}/meanflow_75": (0.75, "float32"),
    "training_step/{}/meanflow_75_tf32": (0.75, "tf32"),
    "training_step/{}/meanflow_75_bfloat16": (0.75, "bfloat16"),
    "training_step/{}/flow_matching": (0, "float32"),
    "training_step/{}/flow_matching_tf32": (0, "tf32"),
    "training_step/{}/flow_matching_bfloat16": (0, "bfloat16"),
    "sampling/{}": (None, "float32"),
    "sampling/{}_tf32": (None, "tf32"),
    "sampling/{}_bfloat16": (None, "bfloat16"),
}
# Those that are timed, in this order.
IMPORTANT = [
    ("songunet", "training_step/{}/meanflow_75_tf32"),
    ("songunet", "training_step/{}/meanflow_75_bfloat16"),
    ("mlp_256x4", "training_step/{}/meanflow_75"),
    ("songunet", "training_step/{}/flow_matching_tf32"),
    ("songunet", "sampling/{}_tf32"),
    ("meanflownet", "training_step/{}/meanflow_75_tf32"),
    ("mlp_256x4", "sampling/{}"),
    ("songunet", "training_step/{}/flow_matching_bfloat16"),
    ("songunet", "sampling/{}_bfloat16"),
    ("meanflownet", "sampling/{}_tf32"),
    ("dit_b4", "training_step/{}/meanflow_75_bfloat16"),
    ("dit_b4", "training_step/{}/meanflow_75_tf32"),
    ("dit_b4", "sampling/{}_bfloat16"),
]
# On the processor, all in float32: nets and batches.
ON_CPU = {"dit_b4": 8, "meanflownet": 32, "songunet": 4}
STEPS_ON_CPU = ["sampling/{}", "training_step/{}/flow_matching", "training_step/{}/meanflow_25",
                "training_step/{}/meanflow_75"]


def cases(small, on_cpu):
    """The name, net, step and batch of each; small ones in float32."""
    if on_cpu and not small:
        return [(f"{step.format(net)}/{batch}", net, step, batch)
                for net, batch in ON_CPU.items() for step in STEPS_ON_CPU]
    found = {}
    for net, step in IMPORTANT:
        if small:
            step = step.removesuffix("_" + STEPS[step][1])
        for batch in (8,) if small else NETS[net][4]:
            found[f"{step.format(net)}/{batch}"] = (net, step, batch)
    return [(name, *case) for name, case in found.items()]


def forms(jumps, device):
    """The eager ones first, since compiling takes minutes and may be cut off."""
    graph = "+graph" if device == "cuda" else ""
    hows = [how + graph for how in ["eager", "compiled"][:1 + hasattr(torch, "compile")]]
    derivatives = ["slice", "joint"] if jumps else [""]
    return [(how, derivative) for how in hows for derivative in derivatives]


def jvp(net, z, r, t, v, cond, losses):
    """u and du/dt along (v, 0, 1). Compiled, only torch.func.jvp gives the right gradient."""
    if not hasattr(torch, "func"):
        return losses.fused(net, z, r, t, v, cond)
    return torch.func.jvp(lambda z, r, t: net(z, r, t, **cond), (z, r, t),
                          (v, torch.zeros_like(r), torch.ones_like(t)))


class Program:
    """One form of one step: `run()` asks the device for it."""

    def __init__(self, modules, net, step, batch, device, small, how, derivative):
        nets, self.losses = modules
        make, make_small, row, classes, _ = NETS[net]
        torch.manual_seed(0)
        self.share, self.precision = STEPS[step]
        for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
            backend.allow_tf32 = self.precision == "tf32"
        torch.backends.cudnn.benchmark = True
        self.net = (make_small if small else make)(nets).to(device)
        self.x = torch.randn(batch, *row, device=device)
        if len(row) == 3:
            self.net = self.net.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last)
        self.cond = {"y": torch.arange(batch, device=device) % classes} if classes else {}
        self.device, self.derivative, self.how = device, derivative, how
        self.work = self.sample if self.share is None else self.loss
        if "compiled" in how:
            self.work = torch.compile(self.work)
        if self.share is None:
            self.net.requires_grad_(False).eval()
            self.run = lambda: self.work(self.x)
            return
        self.parameters = list(self.net.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        on_gpu = {"fused": True, "capturable": True} if device == "cuda" else {}
        self.optimizer = torch.optim.Adam(self.parameters, 1e-5, **on_gpu)
        self.run = self.step

    def record(self):
        """From now on the whole step is one CUDA graph."""
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

    def draw(self):
        n = len(self.x)
        jumps = torch.arange(n, device=self.device) < round(self.share * n)
        a, b = torch.sigmoid(torch.randn(2, n, device=self.device) - 0.4)
        t = torch.maximum(a, b)
        return torch.randn_like(self.x), torch.where(jumps, torch.minimum(a, b), t), t

    def loss(self, x, eps, r, t):
        with torch.autocast(self.device, torch.bfloat16, self.precision == "bfloat16"):
            if not self.share:
                return self.losses.flow_matching(self.net, x, eps, t, **self.cond).mean
            return self.losses.meanflow(self.net, x, eps, r, t, derivative=self.derive,
                                        **self.cond).mean

    def derive(self, net, z, r, t, v, cond):
        if self.derivative == "joint":
            return jvp(net, z, r, t, v, cond, self.losses)
        k = round(self.share * len(z))
        first = jvp(net, z[:k], r[:k], t[:k], v[:k], {c: y[:k] for c, y in cond.items()}, self.losses)
        rest = net(z[k:], r[k:], t[k:], **{c: y[k:] for c, y in cond.items()})
        return torch.cat([first[0], rest]), torch.cat([first[1].detach(), torch.zeros_like(rest)])

    @torch.no_grad()
    def sample(self, x):
        one = torch.ones(len(x), device=self.device)
        with torch.autocast(self.device, torch.bfloat16, self.precision == "bfloat16"):
            return x - self.net(x, torch.zeros_like(one), one, **self.cond)

    def step(self):
        self.optimizer.zero_grad(set_to_none=False)
        self.work(self.x, *self.draw()).backward()
        self.optimizer.step()
        with torch.no_grad():
            if hasattr(torch, "_foreach_lerp_"):
                torch._foreach_lerp_(self.average, self.parameters, 1e-4)
            else:  # before PyTorch 2
                for a, p in zip(self.average, self.parameters):
                    a.lerp_(p, 1e-4)

    def gradient(self, draws):
        """Of the loss of given draws, with layers that begin with zeros set to something."""
        torch.manual_seed(1)
        with torch.no_grad():
            for p in self.parameters:
                p.add_(0.02 * torch.randn_like(p))
        self.work(self.x, *draws).backward()
        gradient = torch.cat([p.grad.flatten() for p in self.parameters if p.grad is not None])
        self.optimizer.zero_grad(set_to_none=False)
        return gradient

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


def check_gradient(program, oracle):
    draws = oracle.draw()
    expected, found = oracle.gradient(draws), program.gradient(draws)
    error = ((found - expected).norm() / expected.norm()).item()
    bound = {"float32": 1e-3, "tf32": 2e-2, "bfloat16": 1e-1}[program.precision]
    if not error < bound:
        raise RuntimeError(f"the gradient is off by {error:.2g}")


def free_memory(device):
    """Of forms that are done: they hold themselves, so that only the collector frees them."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()


def timed(modules, net, step, batch, options, form):
    if hasattr(torch, "_dynamo"):
        torch._dynamo.reset()  # or it gives up compiling after a few forms
    free_memory(options.device)
    arguments = (modules, net, step, batch, options.device, options.small)
    program = Program(*arguments, *form)
    if program.share is not None and (form[0].startswith("compiled") or form[1] == "slice"):
        check_gradient(program, Program(*arguments, "eager", "joint"))
        free_memory(options.device)
    if "graph" in form[0]:
        program.record()
    return program.milliseconds(options.seconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("peer")
    parser.add_argument("--steps", default=".")
    parser.add_argument("--forms", default="eager|compiled", help="what the names of the forms match")
    parser.add_argument("--form", help="the name of the only one, such as compiled+slice")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--list", action="store_true", help="only the names of the steps")
    options = parser.parse_args()
    chosen = [case for case in cases(options.small, options.device == "cpu") if re.search(options.steps, case[0])]
    if options.list:
        print("\n".join(case[0] for case in chosen))
        return
    sys.path.insert(0, options.peer)
    import losses
    import nets

    for name, net, step, batch in chosen:
        for form in forms(STEPS[step][0], options.device):
            line = {"name": name, "form": "+".join(part for part in form if part)}
            if not re.match(options.forms, form[0]) or options.form not in (None, line["form"]):
                continue
            try:
                line["ms"] = round(timed((nets, losses), net, step, batch, options, form), 4)
            except Exception as error:  # not every form is available everywhere
                line["why_not"] = (str(error).splitlines() or [type(error).__name__])[0][:200]
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
