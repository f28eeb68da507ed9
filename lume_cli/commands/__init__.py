"""One file per command. Each imports click alone at its top: `lume --help` loads them all."""
