"""`hypivisor …`: the same as `hyperpi hypivisor …`."""

import sys


def main() -> None:
    """Run the command and end the process with its exit code."""
    from hyperpi.cli import boundary  # the command may import everything; this module is one of its names

    sys.exit(boundary.run(["hypivisor", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
