"""What makes a model harder to fool, and how to find out whether it does."""
