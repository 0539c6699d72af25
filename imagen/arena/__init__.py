"""The arena: blind votes on pairs of images, and the ranking that follows from them."""
