"""A function found by search, put into a model that someone else wrote."""
