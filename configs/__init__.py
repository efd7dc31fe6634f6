"""The configuration files that ship with hybridsearch (also installed as hybridsearch.configs)."""
