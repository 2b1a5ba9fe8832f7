"""A few rounds of killing whatever there is in the middle of turns: `python -m bench.chaos` runs more."""

import pytest
from chaos import VICTIMS, Chaos, run
from live import new_system
from model_server import model_server
from owners_pi import give_pi
from rig import needs_pi, needs_tmux

pytestmark = [*needs_pi, needs_tmux, pytest.mark.timeout(300)]


async def test_whatever_is_killed_in_mid_turn_agents_live_on_and_prompts_run_once():
    with model_server() as model, new_system() as system:
        give_pi(system, model.url)
        tally = await run(Chaos(system, model, seed=5), len(VICTIMS))
    assert dict(tally.kills) == dict.fromkeys(VICTIMS, 1)
    assert tally.attaches["ok"] > 0
    assert tally.events > 0
