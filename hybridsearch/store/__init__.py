"""What is kept on disk, so that a kill, a full disk or a flipped bit never gives a wrong result."""
