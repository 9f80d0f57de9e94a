"""What adaptation does to representations: arrays in, numbers and tables out, on any backbone, adapter and episode."""
