"""The read-only API: the operator's queries over HTTP with an OpenAPI document, and as a Model Context Protocol server."""
