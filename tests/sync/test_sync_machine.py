"""A mailbox changed at random on a real server: mirror = server, replayed log = tables, ids for ever."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.servers.server import ImapServer
from tests.sync.machine import STEPS, MailboxMachine

EXAMPLES = 5


@pytest.mark.hypothesis
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ["dovecot", "cyrus"])
def test_mirror_equals_the_server_whatever_happens_to_the_mailbox(
    name: str, request: pytest.FixtureRequest, transactional_db: None
) -> None:
    class Machine(MailboxMachine):
        server: ClassVar[ImapServer] = request.getfixturevalue(name)
        examples: ClassVar[int] = 0

        def teardown(self) -> None:
            super().teardown()
            type(self).examples += self.steps >= STEPS

    # `make soak` gives seeds; without one, the examples are the same every time
    seeded = request.config.getoption("--hypothesis-seed") is not None
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                derandomize=not seeded,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
    except BaseException as error:
        error.add_note("\n".join(Machine.story))
        raise
    assert Machine.examples >= EXAMPLES
