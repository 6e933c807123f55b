"""From an email address to its servers: known providers, SRV records (RFC 6186), autoconfig files, MX records.

`values.py` what is found, `known.py` providers by heart, `autoconfig.py` reads a file, `choosing.py` decides: pure.
`lookups.py` asks DNS and the web. Nothing is stored, and no mail server is spoken to.
"""

from accounts.discovery.choosing import discover
from accounts.discovery.lookups import Internet
from accounts.discovery.values import Security, Servers, ServersUnknown

__all__ = ["Internet", "Security", "Servers", "ServersUnknown", "discover"]
