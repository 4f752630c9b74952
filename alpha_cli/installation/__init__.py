"""`alpha init`: writes `.env` and the secrets of an installation."""
