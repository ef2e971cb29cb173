"""The only room with weights, batches, devices and precision."""
