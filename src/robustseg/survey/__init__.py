"""The survey behind this library, remade: its figures with our models."""
