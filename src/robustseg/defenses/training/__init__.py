"""Defences by training: adversarial training, TRADES, defensive distillation; one loop for them and for the zoo."""
