-- Every role that a service starts with asks for the schema's number before it starts: without this a role that was made after
-- 0011 waited for ever.
GRANT EXECUTE ON FUNCTION trading.schema_version() TO alpha_ticks, alpha_analysis, alpha_dashboard;
