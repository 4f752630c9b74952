"""`alpha doctor`: checks everything a start depends on, and says what to do about each fault."""
