"""Values that every layer uses: requests, results, capabilities, tickets, text."""
