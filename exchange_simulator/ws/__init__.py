"""The streaming side: private and public WebSocket sessions."""
