"""The commands of `qts`, one family a module; each imports what it needs when it runs."""
