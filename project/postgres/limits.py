"""What every session of ours begins with: time limits, name, time zone.

They travel as libpq's `options` in the first packet: no round trip, and RESET does not undo them.
"""

from __future__ import annotations

#: Seconds that a statement may take, by PROCESS_ROLE; 0: no limit.
STATEMENT_SECONDS = {"web": 5.0, "worker": 60.0, "command": 0.0}
#: A writer that waits this long for a lock gives up.
LOCK_SECONDS = 5.0
#: A transaction in which nothing happens for so long is rolled back: its worker is stopped or cut off.
IDLE_IN_TRANSACTION_SECONDS = 15.0
#: A statement whose client is gone is stopped by the server after this.
GONE_CLIENT_SECONDS = 1.0

#: libpq gives a dead network up after about a minute, where TCP alone would wait for hours.
KEEPALIVE = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}


def session_options(*, statement_seconds: float, time_zone: str) -> str:
    """Return the `options` of libpq that set what a session begins with."""
    milliseconds = {
        "statement_timeout": statement_seconds,
        "lock_timeout": LOCK_SECONDS,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_SECONDS,
        "client_connection_check_interval": GONE_CLIENT_SECONDS,
    }
    limits = [f"-c {name}={seconds * 1000:.0f}" for name, seconds in milliseconds.items()]
    return " ".join([*limits, f"-c TimeZone={time_zone}"])
