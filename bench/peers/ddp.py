#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PyTorch's steps in several processes, by DistributedDataParallel over gloo:

  ddp.py PEER PROCESSES THREADS NET BATCH STEPS

PEER is the folder of the PyTorch programs, NET mlp or meanflownet, BATCH the rows of all processes. Flow matching
alone: the wrapper is not made for a derivative through it."""
import os
import statistics
import sys
import time

import torch
import torch.distributed as distributed
import torch.multiprocessing as multiprocessing


def work(rank, peer, processes, threads, net, batch, steps):
    sys.path.insert(0, peer)
    import nets
    torch.set_num_threads(threads)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29611")
    distributed.init_process_group("gloo", rank=rank, world_size=processes)
    torch.manual_seed(0)
    own = batch // processes
    model = nets.Mlp(hidden=256, depth=4) if net == "mlp" else nets.MeanFlowNet()
    row = (2,) if net == "mlp" else (3, 32, 32)
    condition = {} if net == "mlp" else {"y": torch.arange(own) % 10}
    x = torch.randn(own, *row)
    if len(row) == 3:
        model, x = model.to(memory_format=torch.channels_last), x.contiguous(memory_format=torch.channels_last)
    whole = torch.nn.parallel.DistributedDataParallel(model) if processes > 1 else model
    optimizer = torch.optim.Adam(model.parameters(), 1e-5)
    taken = []
    for step in range(steps + 3):
        begin = time.perf_counter()
        noise, t = torch.randn_like(x), torch.sigmoid(torch.randn(own) - 0.4)
        at = t.view(-1, *[1] * len(row))
        optimizer.zero_grad(set_to_none=False)
        u = whole((1 - at) * x + at * noise, t, t, **condition)
        (u - (noise - x)).square().flatten(1).sum(1).mean().backward()
        optimizer.step()
        if step >= 3:
            taken.append(1e3 * (time.perf_counter() - begin))
    if rank == 0:
        print(f"{net}/flow_matching/{batch}, {processes} processes of {threads} threads: "
              f"{statistics.median(taken):.2f} ms", flush=True)
    distributed.destroy_process_group()


if __name__ == "__main__":
    peer, processes, threads, net, batch, steps = sys.argv[1:]
    multiprocessing.spawn(work, (peer, int(processes), int(threads), net, int(batch), int(steps)),
                          nprocs=int(processes))
