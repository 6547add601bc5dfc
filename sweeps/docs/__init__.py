"""The documentation: evidence rendered from its rows, and the site around it."""
