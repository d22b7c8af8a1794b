"""Log lines: templates found online, and what is unusual about them."""
