"""The table of commands: name -> what does it, in which states, under which capability."""

from __future__ import annotations

from project.demo.commands import access, folders, idle, listing, messages
from project.demo.commands.table import ANY, LOGGED_IN, SELECTED, UNKNOWN, Entry

COMMANDS: dict[str, Entry] = {
    "CAPABILITY": Entry(access.capability, ANY),
    "NOOP": Entry(access.noop, ANY),
    "CHECK": Entry(access.noop, SELECTED),
    "LOGOUT": Entry(access.logout, ANY),
    "ID": Entry(access.identify, ANY, "ID"),
    "STARTTLS": Entry(access.start_tls, UNKNOWN),
    "LOGIN": Entry(access.login, UNKNOWN),
    "AUTHENTICATE": Entry(access.authenticate, UNKNOWN),
    "ENABLE": Entry(access.enable, LOGGED_IN, "ENABLE"),
    "NAMESPACE": Entry(folders.namespace, LOGGED_IN, "NAMESPACE"),
    "LIST": Entry(listing.list_, LOGGED_IN),
    "LSUB": Entry(listing.lsub, LOGGED_IN),
    "STATUS": Entry(listing.status, LOGGED_IN),
    "CREATE": Entry(folders.create, LOGGED_IN),
    "DELETE": Entry(folders.delete, LOGGED_IN),
    "RENAME": Entry(folders.rename, LOGGED_IN),
    "SUBSCRIBE": Entry(folders.subscribe, LOGGED_IN),
    "UNSUBSCRIBE": Entry(folders.unsubscribe, LOGGED_IN),
    "SELECT": Entry(folders.select, LOGGED_IN),
    "EXAMINE": Entry(folders.select, LOGGED_IN),
    "UNSELECT": Entry(folders.unselect, SELECTED, "UNSELECT"),
    "CLOSE": Entry(folders.close, SELECTED),
    "IDLE": Entry(idle.idle, LOGGED_IN, "IDLE"),
    "APPEND": Entry(messages.append, LOGGED_IN),
    "EXPUNGE": Entry(messages.expunge, SELECTED),
    "UID EXPUNGE": Entry(messages.expunge, SELECTED, "UIDPLUS"),
    "FETCH": Entry(messages.fetch, SELECTED),
    "UID FETCH": Entry(messages.fetch, SELECTED),
    "STORE": Entry(messages.store, SELECTED),
    "UID STORE": Entry(messages.store, SELECTED),
    "COPY": Entry(messages.copy, SELECTED),
    "UID COPY": Entry(messages.copy, SELECTED),
    "MOVE": Entry(messages.move, SELECTED, "MOVE"),
    "UID MOVE": Entry(messages.move, SELECTED, "MOVE"),
    "SEARCH": Entry(messages.search, SELECTED),
    "UID SEARCH": Entry(messages.search, SELECTED),
}
