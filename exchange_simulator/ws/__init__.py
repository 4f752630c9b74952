"""Streams: private and public WebSocket sessions."""
