"""Reads what build/apps/bench/flows --json prints, and writes the table of apps/bench/README.md.

    build/apps/bench/flows --json | python3 apps/bench/flows_table.py [--cpu]

Beside ours stands the best of nflows 0.14 and zuko 1.6 on PyTorch 2.13, normflows 1.7.3, and
flowjax 19.1 on JAX 0.10, each measured on 2026-11-25 on two cores of an AVX-512 Xeon whose large
products ran at 265 GFLOP/s. They are not rerun. With --cpu ours are the processors' milliseconds,
not the clock's.
"""
import json
import sys

# ms of a step, a density and samples; None: no peer has it.
PEERS = {
    "maf D=2": (1.21, 0.27, 0.71),
    "real_nvp D=2": (1.18, 0.24, 0.41),
    "neural_spline_coupling D=2": (2.1, 0.52, 0.71),
    "neural_spline_autoregressive D=2": (3.8, 1.5, 3.1),
    "naf D=2": (27.4, 10.3, 131),
    "sos D=2": (14.0, 3.9, 91),
    "residual_flow D=2": (20.6, 14.8, 17.1),
    "block_naf D=2": (5.5, 4.1, None),
    "planar D=2": (0.69, None, None),
    "radial D=2": (8.4, None, None),
    "maf D=64": (15.3, 4.4, 189),
    "real_nvp D=64": (12.7, 3.6, 3.8),
    "neural_spline_coupling D=64": (57.5, 17.1, 19.0),
    "neural_spline_autoregressive D=64": (102, 30, 1604),
    "naf D=64": (434, 161, None),
    "sos D=64": (165, 54, None),
    "residual_flow D=64": (71, 47, 58),
}


def digits(ms):
    return f"{ms:.2f}" if ms < 10 else f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def cell(ms, peer):
    return f"{digits(ms)} | {digits(peer)}, {peer / ms:.1f}" if peer else f"{digits(ms)} | "


def row(flow, key):
    ours = [flow[what][key] for what in ("step", "density", "samples")]
    if "density_estimate" in flow:  # what the peer's density is
        ours[1] = flow["density_estimate"][key]
    cells = [cell(ms, peer) for ms, peer in zip(ours, PEERS.get(flow["name"], (None,) * 3))]
    floor = f"{ours[0] / flow['products'][key]:.2f}" if "products" in flow else ""
    return f"| `{flow['name']}` | " + " | ".join(cells) + f" | {floor} |"


def main():
    if sys.argv[1:] not in ([], ["--cpu"]):
        sys.exit("flows_table.py: expected nothing or --cpu")
    key = "cpu_ms" if sys.argv[1:] else "ms"
    all_of = json.load(sys.stdin)
    rate = all_of["square_product_cpu_gflops" if sys.argv[1:] else "square_product_gflops"]
    titles = [f"{what} | best peer, over ours" for what in ("step", "density", "samples")]
    print("| flow | " + " | ".join(titles) + " | step over its products |")
    print("|---|" + "---:|" * 7)
    for flow in all_of["flows"]:
        print(row(flow, key))
    print(f"\n{all_of['threads']} threads, {all_of['instructions']}, "
          f"OpenBLAS's {all_of['kernels']} kernels; large products: {rate:.0f} GFLOP/s")


main()
