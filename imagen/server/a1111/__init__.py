"""The API of Stable Diffusion web UI (A1111, Forge): its bodies, and its answers."""
