"""Kind pi: the unmodified pi, headless.

Its global extension registers it with the node by itself, so the keeper only has to hold its stdin open,
drain its output, and answer the questions that nobody sits there to answer.
"""

from typing import Final, Literal

COMMAND: Final = ("pi", "--mode", "rpc")

# Lines of pi's protocol are no output for a person, and dialogs among them are answered "cancelled".
STDOUT: Final[Literal["pi-rpc"]] = "pi-rpc"
