-- Everyone who reads from the exchange may note what its documents did not know (audit.venue_drift).

GRANT INSERT ON audit.venue_drift TO alpha_analysis;
