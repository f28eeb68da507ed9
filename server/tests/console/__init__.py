"""The console in a browser. A package, so that its browser is closed before tests with a loop of their own."""
