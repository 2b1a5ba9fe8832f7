"""All benchmarks, one table: `python -m bench [--json] [mesh|agents|pi|pxldisk|watch|mirror|trust …]`."""

import argparse

from bench import agents, mesh, mirror, pi, pxldisk, trust, watch
from bench.figure import show

ALL = {
    "mesh": mesh.measure,
    "agents": agents.measure,
    "pi": pi.measure,
    "pxldisk": pxldisk.measure,
    "watch": watch.measure,
    "mirror": mirror.measure,
    "trust": trust.measure,
}


def main() -> None:
    """Run the chosen benchmarks."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("which", nargs="*", choices=[[], *ALL], default=[], help="all of them by default")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    figures = [figure for name in options.which or ALL for figure in ALL[name]()]
    show(figures, as_json=options.json)


if __name__ == "__main__":
    main()
