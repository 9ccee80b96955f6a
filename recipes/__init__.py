"""How the zoo was made: recipes, augmentation, training loop, export. Not part of the installed package."""
