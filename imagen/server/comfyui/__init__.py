"""ComfyUI's own API, for clients of ComfyUI that are to use the queue."""
