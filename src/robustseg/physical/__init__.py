"""What a thing in the world looks like in a picture: where a plane falls, its light, what a printer can make of it."""
