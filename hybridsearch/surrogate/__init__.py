"""What a function that was never trained is likely to be worth, judged by those that were."""
