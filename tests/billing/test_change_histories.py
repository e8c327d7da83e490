"""Random histories of changes, declines, faults and time end where Stripe says they do."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings

from tests.billing.histories import World, histories
from tests.sandbox.server import Control


@pytest.mark.torture
def test_random_histories(transactional_db: None, sandbox: Control, full: bool) -> None:
    outcomes: Counter[tuple[str, int, str]] = Counter()

    @settings(
        max_examples=200 if full else 2,
        # The gate tries the same few each time; at full length they are new ones.
        derandomize=not full,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories)
    def run(history: tuple[bool, list[Any]]) -> None:
        with_card, steps = history
        world = World.begin(sandbox, outcomes, with_card=with_card)
        for step, fault in steps:
            note(f"{step} {fault or ''}")
            world.take(step, fault)

    try:
        run()
    finally:
        sandbox.settings(auto_card=True)
    print(sorted(outcomes.items()))
    if full:
        # Or the histories would prove little.
        kinds = {"upgrade", "downgrade", "keep_plan", "cancel", "resume", "subscribe"}
        assert {name for name, status, _ in outcomes if status == 200} == kinds
        assert {name for name, status, how in outcomes if status == 200 and how} == kinds
