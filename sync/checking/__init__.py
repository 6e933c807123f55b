"""Comparing a mirror with its live server, and the tables with each other and with the log.

Nothing here shares code with what mirrors: `remote` reads the mailbox by the standard library's imaplib, with a parser
of its own, and `derived` computes public columns a second time, by other means. A fault of the mirror cannot hide in
its own check. `sync.services.checking` puts the pieces together.
"""
