"""HTTP: settings, sessions, retries and throttling of single requests."""
