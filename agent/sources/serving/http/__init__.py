"""HTTP/1.1 as far as reading pages of engines on this host needs it: hostile answers cost their own replica alone.

`reply` reads an answer without any I/O, `talk` holds one connection, `client` keeps one for each endpoint.
"""

from agent.sources.serving.http.client import HttpClient

__all__ = ["HttpClient"]
