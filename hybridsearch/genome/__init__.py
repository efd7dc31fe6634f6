"""What a function is: primitives -> units -> {text, batch} -> canonical -> genome -> function."""
