"""Kills every process of a system in mid-turn: `python -m bench.chaos [--rounds N] [--seed S]`.

Needs a real pi (scripts/fetch_pi.sh) and tmux. What is checked, and how, stands in tests/pi/chaos.py; the
first thing that is not as it should be ends it. Not part of `python -m bench`: nothing is measured here.
"""

import argparse
import asyncio
import sys
from pathlib import Path

TESTS = Path(__file__).parents[1] / "tests"


def main() -> None:
    """Run the rounds and print what came of them."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.path[:0] = [str(TESTS / name) for name in ("live", "pi")]  # as pytest finds them
    from chaos import Chaos, run
    from live import new_system
    from model_server import model_server
    from owners_pi import give_pi

    with model_server() as model, new_system() as system:
        give_pi(system, model.url)
        chaos = Chaos(system, model, options.seed)
        tally = asyncio.run(run(chaos, options.rounds, print))
    kills = ", ".join(f"{name} {count}" for name, count in sorted(tally.kills.items()))
    attaches = ", ".join(f"{resume} {count}" for resume, count in sorted(tally.attaches.items()))
    receipts = ", ".join(f"{receipt} {count}" for receipt, count in sorted(tally.receipts.items()))
    print(f"{tally.rounds} rounds in {tally.seconds:.0f} s, seed {options.seed}: {kills}")
    print(f"{tally.prompts} prompts, each run once ({receipts}); no turn ran again by itself")
    print(f"every conversation equals its session file; a viewer came back {attaches}: no hole, no repeat")


if __name__ == "__main__":
    main()
