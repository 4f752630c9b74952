"""Accounts as people have them: hedge mode, isolated margin, USDC, fees in MNT, a split in mid-position."""
