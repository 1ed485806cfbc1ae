"""The commands, start to end: the only place where a config object meets the library."""
