"""`python -m pxldisk`; see command.py."""

import sys

from .command import main

sys.exit(main())
