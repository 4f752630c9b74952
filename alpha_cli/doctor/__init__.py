"""`alpha doctor`: checks all that a start depends on, and says what to do about each fault."""
