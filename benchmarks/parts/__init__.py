"""The parts of `evaluator.py`; each is a module with `run(machine, options, report)`."""
