"""The command line: a module for each command with its options, and which of them go together."""
