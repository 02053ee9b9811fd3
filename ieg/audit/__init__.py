"""`ieg audit PATH`: which labels of a user's own data are probably wrong."""
