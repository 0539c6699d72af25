"""Jobs: the durable records of prepared tickets, and their recovery."""
