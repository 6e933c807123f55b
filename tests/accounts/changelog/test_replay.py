"""An old snapshot and the changes since make the new snapshot, whatever was written in between."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from accounts.changelog.logged import LoggedModel
from accounts.changelog.reader import latest
from accounts.changelog.recorder import lock_account
from accounts.models import Account
from sync.models import Folder, Message, Thread
from tests.accounts.changelog.replaying import MODELS, replay, rows_of, snapshot
from tests.accounts.changelog.rows import ALIASES, message_row

pytestmark = pytest.mark.django_db(databases=ALIASES)


def random_write(account: Account, dice: random.Random) -> None:
    """Write once, through a door chosen by the dice."""
    mine = {model: list(rows_of(model, account.pk)) for model in MODELS}

    def some(model: type[LoggedModel]) -> list[int]:
        ids = [row.pk for row in mine[model]]
        return dice.sample(ids, min(len(ids), dice.randint(0, 4)))

    def insert_messages() -> None:
        with lock_account(account.pk):
            thread = Thread.objects.create(account_id=account.pk, subject=str(dice.random()))
            rows = [
                message_row(account.pk, thread.pk, dice.getrandbits(60), is_draft=dice.random() < 0.3)
                for _ in range(dice.randint(1, 4))
            ]
            Message.objects.bulk_insert([{**row, "is_draft": row["is_draft"]} for row in rows])

    def save_one() -> None:
        for pk in some(Message)[:1]:
            message = Message.objects.get(pk=pk)
            message.subject, message.is_draft = str(dice.random()), dice.random() < 0.5
            message.save()

    def update_fast() -> None:
        ids = some(Message)
        values = [dice.random() < 0.5 for _ in ids]
        columns: dict[str, list[Any]] = {"is_draft": values, "unread": values[::-1], "held_by": [None] * len(ids)}
        Message.objects.bulk_update_values(ids, columns)

    def update_objects() -> None:
        rows = list(Thread.objects.filter(pk__in=some(Thread)))
        for row in rows:
            row.subject = str(dice.random())
        Thread.objects.bulk_update(rows, ["subject"])

    def update_or_create() -> None:
        Folder.objects.update_or_create({"name": str(dice.random())}, account_id=account.pk, ref=dice.choice("ab"))

    def fail() -> None:
        with pytest.raises(ZeroDivisionError), lock_account(account.pk):
            insert_messages_and_break()

    def insert_messages_and_break() -> None:
        insert_messages()
        raise ZeroDivisionError

    doors: list[Callable[[], object]] = [
        insert_messages,
        insert_messages,
        save_one,
        update_fast,
        update_objects,
        fail,
        update_or_create,
        lambda: Folder.objects.bulk_create([Folder(account_id=account.pk, ref=str(dice.random()))]),
        lambda: Folder.objects.filter(pk__in=some(Folder)).update(total_count=dice.randint(0, 99)),
        lambda: Message.objects.filter(pk__in=some(Message)).update(is_draft=dice.random() < 0.5),
        lambda: Message.objects.filter(pk__in=some(Message)).update(held_by=1),
        lambda: Message.objects.filter(pk__in=some(Message)).delete(),
        lambda: Folder.objects.filter(pk__in=some(Folder)).delete(),
        lambda: Thread.objects.filter(pk__in=some(Thread)[:1]).delete(),
        lambda: [row.delete() for row in mine[Thread][:1]],
    ]
    dice.choice(doors)()


@pytest.mark.parametrize("seed", range(5))
def test_a_snapshot_and_the_changes_since_make_the_tables(account: Account, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(20):
        random_write(account, dice)
    before, place = snapshot(account.pk), latest(account.pk)
    for _ in range(60):
        random_write(account, dice)
    assert replay(account.pk, before, place, limit=dice.randint(1, 40)) == snapshot(account.pk)
    assert replay(account.pk, {}, 0, limit=500) == snapshot(account.pk)
