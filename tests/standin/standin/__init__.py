"""A ComfyUI for tests: its routes, its front end, its queue and its manners, without its models."""
