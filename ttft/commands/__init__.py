"""The commands from options to output: the only place where a config object meets the library."""
