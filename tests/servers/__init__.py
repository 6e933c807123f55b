"""Real IMAP servers for the tests: getting them, starting them, and an independent client to change what they hold."""
