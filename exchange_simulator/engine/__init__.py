"""The exchange's core: accounts, matching, margin, stops, funding, liquidation. Synchronous, exact, no I/O."""
