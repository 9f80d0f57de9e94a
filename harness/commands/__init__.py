"""What the commands do: a module for each, which the command line calls with checked options."""
