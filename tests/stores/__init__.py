"""Real stores of runs for tests: servers that are started, killed, and started again."""
